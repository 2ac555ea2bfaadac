"""Every error that the gateway answers with: one flat tree, one class a problem type.

A class holds what is always true of its kind (the stable ``slug``, the HTTP status, the title and the remedy); an
instance adds the cause in plain words. Details never hold a secret, an address or a stack trace: they travel to
clients and into logs. The triggers turn an instance into a problem document (RFC 9457).
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base of all; ``members`` are the problem document's extension members, ``retry_after`` is in seconds."""

    slug: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    remedy: ClassVar[str | None] = None

    def __init__(self, detail: str, *, retry_after: float | None = None, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.members = members


# --- The request ------------------------------------------------------------------------------------------------


class EmptyBody(GatewayError):
    """No byte arrived where an image was expected."""

    slug = "empty-body"
    status = 400
    title = "The request has no body"
    remedy = "Send the image's bytes, a multipart form with files, or JSON with base64 images."


class LengthRequired(GatewayError):
    """A chunked upload: the Functions host hands such a body over empty."""

    slug = "length-required"
    status = 411
    title = "The upload needs a Content-Length"
    remedy = "Send the Content-Length header: chunked uploads do not reach the gateway."


class UnsupportedContentType(GatewayError):
    """The Content-Type is none of the upload forms."""

    slug = "unsupported-content-type"
    status = 415
    title = "The content type is not supported"
    remedy = "Use image/*, application/octet-stream, multipart/form-data or application/json."


class MalformedMultipart(GatewayError):
    """The body is no well-formed multipart/form-data (RFC 7578)."""

    slug = "malformed-multipart"
    status = 400
    title = "The multipart form cannot be read"
    remedy = "Let your HTTP library build the form, and do not set the Content-Type by hand: it needs the boundary."


class PartWithoutFile(GatewayError):
    """A part of the form is no file."""

    slug = "part-without-file"
    status = 400
    title = "A part of the form is not a file"
    remedy = "Send each image as a file part, with a file name; options go into the query."


class MalformedJson(GatewayError):
    """The body is no JSON, or not of the form that is asked for."""

    slug = "malformed-json"
    status = 400
    title = "The JSON cannot be used"
    remedy = 'Send {"images": [{"b64": "<base64 of the file>"}]}.'


class MalformedBase64(GatewayError):
    """An image in JSON is not base64 (RFC 4648, section 4)."""

    slug = "malformed-base64"
    status = 400
    title = "An image is not valid base64"
    remedy = "Encode the file's bytes with the standard base64 alphabet."


class InvalidParameter(GatewayError):
    """A query parameter or header has a value out of its range."""

    slug = "invalid-parameter"
    status = 400
    title = "A parameter has an invalid value"


class TooManyImages(GatewayError):
    """More images in one request than the gateway takes."""

    slug = "too-many-images"
    status = 413
    title = "Too many images in one request"
    remedy = "Split the upload into several requests."


class ImageTooLarge(GatewayError):
    """An image with more bytes or more pixels than allowed."""

    slug = "image-too-large"
    status = 413
    title = "The image is too large"
    remedy = "Shrink the image before uploading it; the model sees a few hundred pixels a side."


class MessageTooLarge(GatewayError):
    """A request that is larger than the service's messages may be."""

    slug = "message-too-large"
    status = 413
    title = "The image is too large for the inference service"
    remedy = "Shrink the image before uploading it; the model sees a few hundred pixels a side."


class UnsupportedImage(GatewayError):
    """The bytes are no image of a format that the gateway reads."""

    slug = "unsupported-image"
    status = 422
    title = "The file is not an image that can be read"
    remedy = "Send a photograph as JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."


class DamagedImage(GatewayError):
    """The format is known, but the picture cannot be decoded."""

    slug = "damaged-image"
    status = 422
    title = "The image is damaged"
    remedy = "Upload the file again; it may have been cut short on its way."


class UnknownService(GatewayError):
    """No service of that name in the settings."""

    slug = "unknown-service"
    status = 404
    title = "There is no such service"


# --- The gateway's own configuration ----------------------------------------------------------------------------


class Misconfigured(GatewayError):
    """The app settings cannot be used; ``detail`` names each."""

    slug = "misconfigured"
    status = 500
    title = "The gateway's settings are wrong"
    remedy = "Correct the app settings that the detail names, and restart the function app."


class InternalError(GatewayError):
    """A fault of the gateway's own that none of the others names."""

    slug = "internal-error"
    status = 500
    title = "The gateway failed"
    remedy = "Report it with the request_id, under which the gateway's log names the place."


# --- Key Vault and the managed identity ---------------------------------------------------------------------------


class IdentityUnavailable(GatewayError):
    """No token could be had for Key Vault."""

    slug = "identity-unavailable"
    status = 503
    title = "The gateway's managed identity gives no token"
    remedy = "Check that the function app has a managed identity and that MANAGED_IDENTITY_CLIENT_ID, if set, names it."


class VaultUnreachable(GatewayError):
    """Key Vault does not answer, or not as Key Vault does."""

    slug = "vault-unreachable"
    status = 503
    title = "Key Vault cannot be reached"
    remedy = "Check KEY_VAULT_URL, the vault's firewall, and the private endpoint or DNS on the way to it."


class VaultThrottled(GatewayError):
    """Key Vault refuses for now: too many requests."""

    slug = "vault-throttled"
    status = 503
    title = "Key Vault is throttling the gateway"
    remedy = "Try again shortly; if it lasts, raise CREDENTIALS_REFRESH_SECONDS or give the gateway a vault of its own."


class VaultForbidden(GatewayError):
    """The identity may not read this secret."""

    slug = "vault-forbidden"
    status = 503
    title = "Key Vault refuses the gateway's identity"
    remedy = "Give its identity the role 'Key Vault Secrets User' on the vault; 'Secrets Officer' where it rotates."


class SecretMissing(GatewayError):
    """The vault holds no secret of that name."""

    slug = "secret-missing"
    status = 503
    title = "A secret is missing from Key Vault"
    remedy = "Create the secret, or correct the setting that names it."


class SecretDisabled(GatewayError):
    """The secret's latest version is disabled."""

    slug = "secret-disabled"
    status = 503
    title = "A secret in Key Vault is disabled"
    remedy = "Enable the secret's latest version, or store a new one."


class InvalidPin(GatewayError):
    """The pins' secret holds no certificate that can be used."""

    slug = "invalid-pin"
    status = 503
    title = "The pinned certificates cannot be used"
    remedy = "Store the service's certificate, or its authority's, as PEM in the pins' secret."


# --- The control plane -----------------------------------------------------------------------------------------


class NotRotated(GatewayError):
    """A rotation was asked for of a service that the settings say nothing about."""

    slug = "not-rotated"
    status = 409
    title = "The gateway does not rotate this service"
    remedy = "Set the service's CONTROL_PLANE_NAME to its name at the control plane."


class RotationBusy(GatewayError):
    """Another run is at work on the same service."""

    slug = "rotation-busy"
    status = 409
    title = "A rotation of the service is under way"
    remedy = "Try again after the time in Retry-After; GET /api/rotation tells how far it is."


class ControlPlaneUnreachable(GatewayError):
    """The control plane gave no answer that tells what came of the request."""

    slug = "control-plane-unreachable"
    status = 503
    title = "The service's control plane cannot be reached"
    remedy = "Nothing is lost: the next tick goes on. If it lasts, check the CONTROL_PLANE settings and the network."


class ControlPlaneRefused(GatewayError):
    """The control plane refused the request: the token, the role, or what was asked for."""

    slug = "control-plane-refused"
    status = 502
    title = "The service's control plane refuses"
    remedy = "Give the gateway's identity a role on the account, and compare CONTROL_PLANE_NAME with what is deployed."


# --- The inference service --------------------------------------------------------------------------------------


class ServiceUnreachable(GatewayError):
    """No connection, or one that broke."""

    slug = "service-unreachable"
    status = 503
    title = "The inference service cannot be reached"
    remedy = "Try again shortly; if it lasts, check that the service runs and that its address and port are right."


class ServiceUntrusted(GatewayError):
    """The service's certificate was issued by no one whom the pins name."""

    slug = "service-untrusted"
    status = 502
    title = "The inference service's certificate is not trusted"
    remedy = "Store the certificate that the service presents, or its authority's, in the pins' secret."


class ServiceCertificateExpired(GatewayError):
    """The service presents, or the pins hold, a certificate past its end."""

    slug = "service-certificate-expired"
    status = 502
    title = "The inference service's certificate has expired"
    remedy = "Rotate the service's certificate, and pin the new one."


class ServiceNameMismatch(GatewayError):
    """The service's certificate names another host."""

    slug = "service-name-mismatch"
    status = 502
    title = "The inference service's certificate is for another name"
    remedy = "Set the service's TLS_NAME to a name in its certificate, or issue one for the address in use."


class ServiceWithoutTls(GatewayError):
    """Something answers at the service's port, but not with TLS."""

    slug = "service-without-tls"
    status = 502
    title = "The inference service does not speak TLS"
    remedy = "Turn TLS on at the service, or correct its address and port."


class KeysRefused(GatewayError):
    """The service refuses both keys, also fresh from Key Vault."""

    slug = "keys-refused"
    status = 502
    title = "The inference service refuses the gateway's keys"
    remedy = "Store the service's current keys in Key Vault; the gateway takes them up within seconds."


class Overloaded(GatewayError):
    """As many images as may be are under way to the service, or more than could be scored in time."""

    slug = "overloaded"
    status = 503
    title = "Too much is under way to the inference service"
    remedy = "Try again after the time in Retry-After; if it lasts, add replicas of the service."


class ServiceBusy(GatewayError):
    """The service has no room for the call."""

    slug = "service-busy"
    status = 503
    title = "The inference service is overloaded"
    remedy = "Try again after the time in Retry-After."


class DeadlineExceeded(GatewayError):
    """The answer was not there in time; ``detail`` says what was under way."""

    slug = "deadline-exceeded"
    status = 504
    title = "The deadline passed"
    remedy = "Try again, or allow more time: by Request-Timeout-Ms, up to the service's DEADLINE_MS."


class ServiceRejected(GatewayError):
    """The service refuses the call as such: a wrong model, input, shape or type.

    ``code`` is gRPC's name of the status that it answered, as ``NOT_FOUND``; it is for callers within.
    """

    code = ""

    slug = "service-rejected"
    status = 502
    title = "The inference service rejects the gateway's call"
    remedy = "Compare the service's MODEL, SIGNATURE, INPUT_NAME, INPUT_FORM and IMAGE_SIZE with what it serves."


class ServiceAnswerInvalid(GatewayError):
    """The service answered something that is no usable score."""

    slug = "service-answer-invalid"
    status = 502
    title = "The inference service's answer cannot be used"
    remedy = "Compare the service's OUTPUT_NAME, OUTPUT_FORM and LABELS with what it serves."


class ServiceFailed(GatewayError):
    """The service failed within."""

    slug = "service-failed"
    status = 502
    title = "The inference service failed"
    remedy = "Look at the inference service's own log at the time of the request."
