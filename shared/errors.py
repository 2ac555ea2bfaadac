"""Every error of the deployed code: one tree, one class a problem type (RFC 9457).

A class holds what is always true of its kind: the stable ``slug``, the HTTP ``status``, the ``title``, what it means
(``meaning``, the text of the API's documentation) and the ``remedy``. An instance adds ``detail``, the cause this time.
Details never hold a secret, an address or a stack trace: they are sent to clients and logged. The triggers turn an
instance into a problem document; the routes of the inference protocols, into their own form.

A subclass without a slug of its own is a distinction for callers inside the gateway; clients see its parent's type.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base of all; ``members`` are the problem document's extension members, ``retry_after`` is in seconds."""

    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    meaning: ClassVar[str]
    remedy: ClassVar[str | None] = None
    # Seconds after which trying again may help, where that is the remedy and nothing better is known.
    pause: ClassVar[float | None] = None

    def __init__(self, detail: str, *, retry_after: float | None = None, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = self.pause if retry_after is None else retry_after
        self.members = members

    @property
    def is_server_fault(self) -> bool:
        """Whether the cause lies behind the client: worth a line in the log."""
        return self.status >= 500 and self.status != 501


def problem_types() -> list[type[GatewayError]]:
    """The classes with a slug of their own, in the order of this file."""
    return [
        kind
        for kind in globals().values()
        if isinstance(kind, type) and issubclass(kind, GatewayError) and "slug" in vars(kind)
    ]


# --- The request ------------------------------------------------------------------------------------------------


class EmptyBody(GatewayError):
    slug = "empty-body"
    status = 400
    title = "There is no image"
    meaning = "The body, a file in it, or the list of images is empty."
    remedy = "Send the image's bytes, a multipart form with files, or JSON with base64 images."


class LengthRequired(GatewayError):
    slug = "length-required"
    status = 411
    title = "The upload needs a Content-Length"
    meaning = "The upload is chunked: the Functions host passes such a body on empty."
    remedy = "Send the Content-Length header: chunked uploads do not reach the gateway."


class UnsupportedContentType(GatewayError):
    slug = "unsupported-content-type"
    status = 415
    title = "The content type is not supported"
    meaning = "The Content-Type is none of the upload forms, and the body is not an image."
    remedy = "Use image/*, application/octet-stream, multipart/form-data or application/json."


class UnsupportedContentEncoding(GatewayError):
    slug = "unsupported-content-encoding"
    status = 415
    title = "The content encoding is not supported"
    meaning = "The body has a Content-Encoding that the gateway does not decode."
    remedy = "Send the body uncompressed, or with Content-Encoding gzip or deflate."


class MalformedContentEncoding(GatewayError):
    slug = "malformed-content-encoding"
    status = 400
    title = "The body cannot be decompressed"
    meaning = "The body is not in the format that its Content-Encoding names, or is not complete."
    remedy = "Compress the whole body as one stream, or send it without Content-Encoding."


class BodyTooLarge(GatewayError):
    slug = "body-too-large"
    status = 413
    title = "The body is too large"
    meaning = "The body is larger than the gateway's memory allows, or, if compressed, than allowed when decompressed."
    remedy = "Split the request into several, or send the body uncompressed."


class MalformedMultipart(GatewayError):
    slug = "malformed-multipart"
    status = 400
    title = "The multipart form cannot be read"
    meaning = "The body is not well-formed multipart/form-data (RFC 7578)."
    remedy = "Let your HTTP library build the form, and do not set the Content-Type by hand: it needs the boundary."


class PartWithoutFile(GatewayError):
    slug = "part-without-file"
    status = 400
    title = "The form has no image"
    meaning = "No part of the form has a file name, or is an image."
    remedy = "Send each image as a file part, with a file name."


class MalformedJson(GatewayError):
    slug = "malformed-json"
    status = 400
    title = "The JSON cannot be used"
    meaning = "The body is not JSON, or not of the required form."
    remedy = 'Send {"images": [{"b64": "<base64 of the file>"}]}.'


class MalformedBase64(GatewayError):
    slug = "malformed-base64"
    status = 400
    title = "An image is not valid base64"
    meaning = "An image in JSON or in a form is not base64 (RFC 4648)."
    remedy = "Encode the file's bytes in base64, in the standard or the URL-safe alphabet, or as a data: URL."


class ImageAddress(GatewayError):
    slug = "image-address"
    status = 400
    title = "Images are not fetched from addresses"
    meaning = "An image in JSON is a URL; the gateway never fetches one."
    remedy = "Send the image's bytes: as the body, in a form, or in base64."


class InvalidParameter(GatewayError):
    slug = "invalid-parameter"
    status = 400
    title = "A parameter has an invalid value"
    meaning = "A query parameter, a header or a member of the body has a value out of its range."
    remedy = "Correct the value, or leave the parameter out for its default."


class InvalidTensor(GatewayError):
    slug = "invalid-tensor"
    status = 400
    title = "The tensor does not fit the model"
    meaning = "The form, name, datatype, shape or values of what was sent do not fit the model."


class TooManyImages(GatewayError):
    slug = "too-many-images"
    status = 413
    title = "Too many images in one request"
    meaning = "The request holds more images than MAX_IMAGES allows."
    remedy = "Split the upload into several requests."


class ImageTooLarge(GatewayError):
    slug = "image-too-large"
    status = 413
    title = "The image is too large"
    meaning = "The image has more bytes or more pixels than allowed."
    remedy = "Shrink the image before uploading it; the model uses a few hundred pixels a side."


class MessageTooLarge(GatewayError):
    slug = "message-too-large"
    status = 413
    title = "The image is too large for the inference service"
    meaning = "The request is larger than the messages that the service accepts."
    remedy = "Shrink the image before uploading it; the model uses a few hundred pixels a side."


class UnsupportedImage(GatewayError):
    slug = "unsupported-image"
    status = 422
    title = "The file is not an image that can be read"
    meaning = "The bytes are not an image of a supported format."
    remedy = "Send a photograph as JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."


class DamagedImage(GatewayError):
    slug = "damaged-image"
    status = 422
    title = "The image is damaged"
    meaning = "The format is supported, but the image cannot be decoded."
    remedy = "Upload the file again; it may have been truncated in transit."


class UnknownService(GatewayError):
    slug = "unknown-service"
    status = 404
    title = "There is no such service"
    meaning = "The settings configure no service of that name."


class UnknownVersion(GatewayError):
    slug = "unknown-version"
    status = 404
    title = "There is no such version of the model"
    meaning = "The inference service does not serve the requested version or label of the model."


class MethodNotOffered(GatewayError):
    slug = "method-not-offered"
    status = 501
    title = "The method is not offered"
    meaning = "The inference service, or the gateway, does not offer the requested method."


# --- The gateway's own configuration ----------------------------------------------------------------------------


class Misconfigured(GatewayError):
    slug = "misconfigured"
    status = 500
    title = "The gateway's settings are wrong"
    meaning = "The app settings cannot be used; the detail names each faulty one."
    remedy = "Correct the app settings that the detail names, and restart the function app."


class InternalError(GatewayError):
    slug = "internal-error"
    status = 500
    title = "The gateway failed"
    meaning = "An unexpected fault of the gateway itself."
    remedy = "Report it with the request_id: the gateway's log has the location under it."


# --- Key Vault and the managed identity ---------------------------------------------------------------------------


class IdentityUnavailable(GatewayError):
    slug = "identity-unavailable"
    status = 503
    title = "The gateway's identity returns no token"
    meaning = "No access token could be obtained for Key Vault or the control plane."
    remedy = "Check that the function app has a managed identity and that MANAGED_IDENTITY_CLIENT_ID, if set, names it."


class VaultUnreachable(GatewayError):
    slug = "vault-unreachable"
    status = 503
    title = "Key Vault cannot be reached"
    meaning = "Key Vault does not respond, or responds in an unexpected way."
    remedy = "Check KEY_VAULT_URL, the vault's firewall, and the private endpoint or DNS on the way to it."


class VaultThrottled(GatewayError):
    slug = "vault-throttled"
    status = 503
    title = "Key Vault is throttling the gateway"
    meaning = "Key Vault refuses temporarily: too many requests."
    remedy = "Try again shortly; if it lasts, raise CREDENTIALS_REFRESH_SECONDS or give the gateway a vault of its own."
    pause = 5


class VaultForbidden(GatewayError):
    slug = "vault-forbidden"
    status = 503
    title = "Key Vault refuses the gateway's identity"
    meaning = "The identity has no permission for this secret."
    remedy = "Give its identity the role 'Key Vault Secrets User' on the vault; 'Secrets Officer' where it rotates."


class VaultFirewalled(VaultForbidden):
    """The vault's firewall refuses the address (`ForbiddenByFirewall`):"""

    remedy = (
        "Allow the function app's outbound addresses in the vault's firewall, or connect it to the vault's network."
    )


class VaultPrivate(VaultForbidden):
    """The vault allows no public networks (`ForbiddenByConnection`):"""

    remedy = "Reach the vault by its private endpoint: integrate the function app into that network, and its DNS zone."


class WrongTenant(VaultForbidden):
    """The token is another tenant's (`AKV10032`):"""

    remedy = "Use a vault of the identity's own tenant, or change the vault's tenant id (az keyvault update)."


class TokenExpired(VaultForbidden):
    """The vault takes the token for expired (`TokenExpired`):"""

    remedy = "Try again shortly; if it lasts, check the clock of the machine, and restart the function app."
    pause = 5


class VaultNotFound(VaultUnreachable):
    """There is no vault of that name, or the name does not resolve:"""

    remedy = "Correct KEY_VAULT_URL, recover the vault if it was deleted, and check DNS on the way to it."


class VaultUntrusted(VaultUnreachable):
    """The vault's certificate is not trusted:"""

    remedy = "Check what intercepts TLS on the way to the vault; for a local vault, set KEY_VAULT_CA_FILE."


class VaultRejected(GatewayError):
    slug = "vault-rejected"
    status = 503
    title = "Key Vault rejects a request"
    meaning = "Key Vault responds with 400: the request is invalid, or the value to store is larger than 25 kB."
    remedy = "Where pins are to be stored, remove certificates that nothing serves any more from the pins secret."


class SecretMissing(GatewayError):
    slug = "secret-missing"
    status = 503
    title = "A secret is missing from Key Vault"
    meaning = "The vault has no secret of that name."
    remedy = "Create the secret, or correct the setting that names it."


class SecretDisabled(GatewayError):
    slug = "secret-disabled"
    status = 503
    title = "A secret in Key Vault is disabled"
    meaning = "The secret's latest version is disabled, or the secret is deleted."
    remedy = "Enable the secret's latest version, or store a new one."


class InvalidPin(GatewayError):
    slug = "invalid-pin"
    status = 503
    title = "The pinned certificates cannot be used"
    meaning = "The pins secret contains no usable certificate."
    remedy = "Store the service's certificate, or its authority's, as PEM in the pins secret."


class InvalidKey(GatewayError):
    slug = "invalid-key"
    status = 503
    title = "The stored keys cannot be used"
    meaning = "A key in Key Vault has characters that no request can carry."
    remedy = "Store the service's key again, as printable ASCII: without line breaks, tabs or a byte order mark inside."


# --- Rotation and the control plane --------------------------------------------------------------------------------


class NotRotated(GatewayError):
    slug = "not-rotated"
    status = 409
    title = "The gateway does not rotate this service"
    meaning = "A rotation was requested of a service for which the settings configure none."
    remedy = "Set the service's CONTROL_PLANE_NAME to its name at the control plane."


class RotationBusy(GatewayError):
    slug = "rotation-busy"
    status = 409
    title = "A rotation of the service is in progress"
    meaning = "Another run is working on the same service."
    remedy = "Try again after the time in Retry-After; GET /api/rotation shows its progress."
    pause = 5


class ForeignOrigin(GatewayError):
    slug = "foreign-origin"
    status = 403
    title = "The request may come from a web page elsewhere"
    meaning = "A web page of another origin may have sent the request, which would start a rotation."
    remedy = (
        "Send it without the header Origin, or from a page of the gateway's own; on a developer's machine, to localhost"
        " and with Content-Type: application/json."
    )


class ControlPlaneUnreachable(GatewayError):
    slug = "control-plane-unreachable"
    status = 503
    title = "The service's control plane cannot be reached"
    meaning = "The control plane gave no response from which the outcome of the request is known."
    remedy = "The next run continues. If it lasts, check the CONTROL_PLANE settings and the network."


class InvalidControlPlaneResponse(ControlPlaneUnreachable):
    """The response does not follow the control plane's contract."""


class OutcomeUnknown(ControlPlaneUnreachable):
    """A request that must not be sent twice got no response: whether it was carried out is not known."""


class OperationTimedOut(ControlPlaneUnreachable):
    """The deadline passed during an operation, which may still end either way.

    ``operation`` is its path, for :meth:`DeploymentClient.wait_for_operation`; empty where it is not known.
    """

    def __init__(self, detail: str, operation: str) -> None:
        super().__init__(detail)
        self.operation = operation


class ControlPlaneRefused(GatewayError):
    slug = "control-plane-refused"
    status = 502
    title = "The service's control plane refuses"
    meaning = "The control plane refused the request: the token, the role, or the content."
    remedy = "Give the gateway's identity a role on the account, and compare CONTROL_PLANE_NAME with what is deployed."

    def __init__(self, detail: str, http_status: int = 0) -> None:
        """``http_status`` is the control plane's, zero where there is none."""
        super().__init__(detail)
        self.http_status = http_status


class NotDeployed(ControlPlaneRefused):
    """404: the control plane has no service, model, operation or account of that identifier."""


class NameInUse(ControlPlaneRefused):
    """Another service has the name."""


class OperationFailed(ControlPlaneRefused):
    """An operation ended as Failed or Cancelled; ``reason`` is the control plane's.

    ``operation`` is its path, empty where only the service's state shows the failure.
    """

    def __init__(self, operation: str, state: str, reason: str) -> None:
        which = operation.rpartition("/")[2] or "on the service"
        super().__init__(f"The operation {which} ended as {state}: {reason.rstrip('.')}.")
        self.operation = operation
        self.reason = reason


# --- The inference service --------------------------------------------------------------------------------------


class ServiceUnreachable(GatewayError):
    slug = "service-unreachable"
    status = 503
    title = "The inference service cannot be reached"
    meaning = "No connection could be made, or it broke."
    remedy = "Try again shortly; if it lasts, check that the service runs and that its address and port are right."
    pause = 1


class HandshakeFailed(ServiceUnreachable):
    """The address accepts connections, and the TLS handshake fails, for another reason than the certificate's trust."""


class ClientCertificateRefused(ServiceUnreachable):
    """The service closes the connections that present a client certificate:"""

    remedy = "Check that the service trusts the authority of the certificate in CLIENT_CERTIFICATE_SECRET."


class ServiceNameUnresolved(GatewayError):
    slug = "service-name-unresolved"
    status = 503
    title = "The inference service's name does not resolve"
    meaning = "DNS has no address for the service's host name."
    remedy = "Correct the service's ADDRESS, or the DNS zone that the function app uses."


class ProxyRefused(GatewayError):
    slug = "proxy-refused"
    status = 503
    title = "A proxy refuses the way to the inference service"
    meaning = "The proxy of https_proxy or grpc_proxy does not connect to the service."
    remedy = "Allow the service's address in the proxy, or exclude it by no_grpc_proxy or no_proxy."


class ServiceUntrusted(GatewayError):
    slug = "service-untrusted"
    status = 502
    title = "The inference service's certificate is not trusted"
    meaning = "No pinned certificate matches, or issued, the certificate that the service presents."
    remedy = "Store the certificate that the service presents, or its authority's, in the pins secret."


class ServiceCertificateExpired(GatewayError):
    slug = "service-certificate-expired"
    status = 502
    title = "The inference service's certificate has expired"
    meaning = "The service presents, or the pins contain, a certificate that is not valid now."
    remedy = "Rotate the service's certificate, and pin the new one."


class ServiceNameMismatch(GatewayError):
    slug = "service-name-mismatch"
    status = 502
    title = "The inference service's certificate is for another name"
    meaning = "The service's certificate names another host."
    remedy = "Set the service's TLS_NAME to a name in its certificate, or issue one for the address in use."


class ServiceWithoutTls(GatewayError):
    slug = "service-without-tls"
    status = 502
    title = "The inference service does not use TLS"
    meaning = "A server responds at the service's port, but not with TLS."
    remedy = "Turn TLS on at the service, or correct its address and port."


class ServiceWithoutHttp2(GatewayError):
    slug = "service-without-http2"
    status = 502
    title = "The inference service does not offer HTTP/2"
    meaning = "A server responds at the service's port with TLS, but without HTTP/2 (ALPN h2), which gRPC needs."
    remedy = "Correct the service's port, or turn HTTP/2 on at the service or at what terminates TLS before it."


class KeysRefused(GatewayError):
    slug = "keys-refused"
    status = 502
    title = "The inference service refuses the gateway's keys"
    meaning = (
        "The service accepts no key in Key Vault, also after they were read again; or forbids what is asked of it."
    )
    remedy = "Store the service's current keys in Key Vault; the gateway uses them within seconds."


class GatewayBusy(GatewayError):
    slug = "gateway-busy"
    status = 503
    title = "The gateway is busy with other images"
    meaning = "The memory or the decoders for images were in use by other requests, until the deadline."
    remedy = "Try again after the time in Retry-After; if it lasts, add instances, or choose larger ones."
    pause = 1


class Overloaded(GatewayError):
    slug = "overloaded"
    status = 503
    title = "Too many images are in progress at the inference service"
    meaning = "The limit of images in progress is reached, or the request could not be scored before its deadline."
    remedy = "Try again after the time in Retry-After; if it lasts, add replicas of the service."
    pause = 1


class ServiceBusy(GatewayError):
    slug = "service-busy"
    status = 503
    title = "The inference service is overloaded"
    meaning = "The service reports that its resources are exhausted."
    remedy = "Try again after the time in Retry-After."
    pause = 1


class DeadlineExceeded(GatewayError):
    slug = "deadline-exceeded"
    status = 504
    title = "The deadline passed"
    meaning = "The response was not ready in time; the detail names the step that was in progress."
    remedy = "Try again, or allow more time: by Request-Timeout-Ms, up to the service's DEADLINE_MS."
    pause = 1


class ServiceRejected(GatewayError):
    slug = "service-rejected"
    status = 502
    title = "The inference service rejects the gateway's call"
    meaning = "The service rejects the call: a wrong model, input, shape or type."
    remedy = "Compare the service's MODEL, SIGNATURE, INPUT_NAME, INPUT_FORM and IMAGE_SIZE with what it serves."

    def __init__(self, detail: str, code: str = "") -> None:
        """``code`` is the name of the gRPC status, as ``NOT_FOUND``; it is for callers inside the gateway."""
        super().__init__(detail)
        self.code = code


class ServiceAnswerInvalid(GatewayError):
    slug = "service-answer-invalid"
    status = 502
    title = "The inference service's response cannot be used"
    meaning = "The service's response contains no usable scores."
    remedy = "Compare the service's OUTPUT_NAME, OUTPUT_FORM and LABELS with what it serves."


class ServiceAnswerNotFinite(ServiceAnswerInvalid):
    """The response contains NaN or infinity, as the one to an input with such values does."""


class ServiceFailed(GatewayError):
    slug = "service-failed"
    status = 502
    title = "The inference service failed"
    meaning = "The service reports an internal error."
    remedy = "Look at the inference service's own log at the time of the request."
