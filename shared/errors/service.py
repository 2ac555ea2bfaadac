"""Errors of the inference service, of the way to it, and of admission."""

from shared.errors.base import GatewayError


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


class AuthorityUntrusted(ServiceUntrusted):
    """TRUST is public, which uses no pins:"""

    remedy = "Name the authority's PEM file in TRUST_FILE; or set TRUST to pins, and store its certificate as the pin."


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


class KeyExpected(KeysRefused):
    """The settings say that no key is sent:"""

    remedy = (
        "Set the service's AUTH to what it expects: key, bearer or entra. Over a connection without TLS none is sent."
    )


class TokenRefused(KeysRefused):
    """AUTH is entra, which sends a token and no key:"""

    remedy = "Compare AUTH_SCOPE with what the service expects, and see that the app's identity has a role there."


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
    remedy = (
        "Compare the service's PROTOCOL, MODEL, SIGNATURE, INPUT_NAME, INPUT_FORM and IMAGE_SIZE with what it serves."
    )

    def __init__(self, detail: str, code: str = "") -> None:
        """``code`` is the name of the gRPC status, as ``NOT_FOUND``; it is for callers inside the gateway."""
        super().__init__(detail)
        self.code = code


class ServiceAnswerInvalid(GatewayError):
    slug = "service-answer-invalid"
    status = 502
    title = "The inference service's response cannot be used"
    meaning = "The service's response contains no usable scores."
    remedy = "Compare the service's OUTPUT, OUTPUT_NAME, ACTIVATION and LABELS with what it serves."


class ServiceAnswerNotFinite(ServiceAnswerInvalid):
    """The response contains NaN or infinity, as the one to an input with such values does."""


class ServiceFailed(GatewayError):
    slug = "service-failed"
    status = 502
    title = "The inference service failed"
    meaning = "The service reports an internal error."
    remedy = "Look at the inference service's own log at the time of the request."
