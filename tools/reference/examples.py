"""An example of each problem type: the detail, and the members that this type adds.

The tests compare them with what the gateway really responds.
"""

from collections.abc import Mapping

EXAMPLES: Mapping[str, Mapping[str, object]] = {
    "empty-body": {"detail": "The request's body is empty."},
    "length-required": {"detail": "The upload is chunked, and so reached the gateway without its bytes."},
    "unsupported-content-type": {"detail": "The Content-Type is 'text/plain', and the body is not an image."},
    "unsupported-content-encoding": {"detail": "The Content-Encoding is 'br'; gzip, deflate or none is expected."},
    "malformed-content-encoding": {"detail": "The body is not gzip, contrary to its Content-Encoding."},
    "body-too-large": {
        "detail": "The body has more than 1048576 bytes after decompression; 100 times its compressed bytes are"
        " allowed, and at most 104857600.",
        "limit": 1_048_576,
    },
    "malformed-multipart": {"detail": "The form ends prematurely, or its parts are not well-formed."},
    "part-without-file": {
        "detail": "The form contains no image; its fields are: top.",
        "fields": ["top"],
    },
    "malformed-json": {"detail": "The body is not JSON in UTF-8."},
    "malformed-base64": {"detail": "images[0].b64 is not base64.", "file": "images[0]", "index": 0},
    "image-address": {"detail": "images[0] is an address.", "index": 0},
    "invalid-parameter": {
        "detail": "The parameter top is 'many'; a whole number from 0 (all scores) is expected.",
        "parameter": "top",
        "expected": "a whole number from 0 (all scores)",
    },
    "invalid-tensor": {"detail": "The body must have either 'instances' (rows) or 'inputs' (columns)."},
    "too-many-images": {"detail": "The request has more than 16 images.", "limit": 16},
    "image-too-large": {
        "detail": "The image has 20000 x 10000 pixels; 50000000 are allowed.",
        "limit": 50_000_000,
        "unit": "pixels",
        "file": "body",
        "index": 0,
    },
    "message-too-large": {
        "detail": "The request is larger than the messages that the service accepts.",
        "file": "body",
        "index": 0,
    },
    "unsupported-image": {
        "detail": "The file is a PDF document, which is not supported.",
        "file": "body",
        "index": 0,
    },
    "damaged-image": {"detail": "The image data could not be decoded completely.", "file": "body", "index": 0},
    "unknown-service": {
        "detail": "The gateway has no service 'dogs'; its services are: imagenet, imagenet-open, imagenet-tensor.",
        "services": ["imagenet", "imagenet-open", "imagenet-tensor"],
    },
    "metrics-off": {"detail": "The settings do not turn the metrics for Prometheus on."},
    "metrics-key-refused": {
        "detail": "The request has no `Authorization: Bearer` header with the value of METRICS_KEY."
    },
    "no-golden-photographs": {
        "detail": "The service 'cats' has no golden photographs: SERVICE__CATS__GOLDEN is not set."
    },
    "unknown-version": {"detail": "The service responded with NOT_FOUND: model 'imagenet' has no version 9; it has 1"},
    "method-not-offered": {"detail": "The inference service does not report the status of models."},
    "misconfigured": {
        "detail": "SERVICE__CATS__PORT is 'cat'; a whole number from 1 to 65535 is needed",
        "settings": ["SERVICE__CATS__PORT"],
    },
    "internal-error": {"detail": "An unexpected fault stopped the request."},
    "identity-unavailable": {"detail": "The identity endpoint returned no token."},
    "vault-unreachable": {"detail": "Key Vault did not respond."},
    "vault-throttled": {"detail": "Key Vault responded with 429: too many requests."},
    "vault-forbidden": {
        "detail": "Key Vault does not allow the gateway to use secret 'cats-primary-key'.",
        "secret": "cats-primary-key",
    },
    "vault-rejected": {
        "detail": "Key Vault rejects a request for secret 'full-pins': it is invalid, or its value is over 25 kB.",
        "secret": "full-pins",
    },
    "secret-missing": {"detail": "Key Vault has no secret 'no-such-secret'.", "secret": "no-such-secret"},
    "secret-disabled": {
        "detail": "The latest version of secret 'disabled-secret' is disabled.",
        "secret": "disabled-secret",
    },
    "invalid-pin": {"detail": "Secret 'cats-pins' contains no PEM certificate.", "secret": "cats-pins"},
    "invalid-key": {
        "detail": "The key in secret 'cats-primary-key' has characters other than printable ASCII.",
        "secret": "cats-primary-key",
    },
    "not-rotated": {"detail": "The service 'dogs' has no CONTROL_PLANE_NAME.", "services": ["cats"]},
    "rotation-busy": {"detail": "Another run holds the lease of 'cats'."},
    "foreign-origin": {"detail": "The request comes from a web page of another origin."},
    "control-plane-unreachable": {"detail": "Cannot discover the control plane. The control plane cannot be reached."},
    "control-plane-refused": {"detail": "The control plane has no service lions."},
    "service-unreachable": {"detail": "The connection to the service could not be made, or broke."},
    "service-name-unresolved": {"detail": "The service's host name does not resolve."},
    "proxy-refused": {"detail": "A server on the way responded with HTTP 403."},
    "service-untrusted": {"detail": "The handshake failed: no pin matches the certificate that the service presents."},
    "service-certificate-expired": {
        "detail": "The handshake failed: the certificate that the service presents, or its issuer's, has expired."
    },
    "service-name-mismatch": {
        "detail": "The handshake failed: the certificate that the service presents does not cover its configured name."
    },
    "service-without-tls": {"detail": "The handshake failed: the server at the service's port does not use TLS."},
    "service-without-http2": {
        "detail": "The handshake failed: the server at the service's port uses TLS, but offers no HTTP/2."
    },
    "keys-refused": {"detail": "The service refuses the key that was tried last."},
    "gateway-busy": {
        "detail": "The memory for bodies is in use by other requests.",
    },
    "overloaded": {"detail": "Images in progress at the service: 16, of 16 at most."},
    "service-busy": {"detail": "The service reports that its resources are exhausted."},
    "deadline-exceeded": {
        "detail": "The deadline passed while the service was scoring.",
        "file": "body",
        "index": 0,
    },
    "service-rejected": {
        "detail": "The service responded with NOT_FOUND: model 'dogs' is not served here, but 'imagenet'"
    },
    "service-answer-invalid": {"detail": "The response has no output 'output_alias'; it has: none."},
    "service-failed": {"detail": "The service responded with INTERNAL: an injected fault"},
}
