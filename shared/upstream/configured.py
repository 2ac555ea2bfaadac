"""What the settings say of a failed call's cause: gRPC does not know which trust, key or TLS was asked for."""

from collections.abc import Sequence

from shared.errors import (
    AuthorityUntrusted,
    GatewayError,
    KeyExpected,
    ServiceUnreachable,
    ServiceUntrusted,
    TokenRefused,
)
from shared.settings import Auth, ServiceSettings, Tls, Trust
from shared.upstream.causes import KEY_REFUSED, NO_CONNECTION, NO_PIN

# Pins that are named in a cause.
_SHOWN = 3


def as_configured(why: GatewayError, service: ServiceSettings, unused: Sequence[str] = ()) -> GatewayError:
    """The cause as somebody with these settings has to read it; ``why`` where they add nothing.

    ``unused`` are the reasons for which pins are not trusted: the one that is needed may have expired.
    """
    secure = service.tls is Tls.REQUIRED
    if why.detail == NO_PIN and service.trust is Trust.PUBLIC:
        who = "in TRUST_FILE" if service.trust_file else "that the operating system trusts"
        return AuthorityUntrusted(f"The handshake failed: no authority {who} issued what the service presents.")
    if why.detail == NO_PIN and unused:
        return ServiceUntrusted(f"{NO_PIN} Not trusted: {'; '.join(unused[:_SHOWN])}.")
    if why.detail == KEY_REFUSED and service.auth is Auth.ENTRA:
        return TokenRefused("The service refuses the token of the app's identity.")
    if why.detail == KEY_REFUSED and not (secure and service.auth is not Auth.NONE):
        setting = f"AUTH is {service.auth}" if secure else f"TLS is {service.tls}"
        return KeyExpected(f"The service expects a key, and none was sent: {setting}.")
    if why.detail == NO_CONNECTION and not secure:
        more = f"{NO_CONNECTION} TLS is {service.tls}: a service that expects TLS closes it."
        return ServiceUnreachable(more, retry_after=why.retry_after)
    return why
