"""Who may call the routes that score: the host's level for them, and what else authenticates callers.

App Service authentication does not satisfy a function key, nor a key the former: behind it, the routes are anonymous
to the host. They are so only where something is known to authenticate callers, or the settings name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.settings.reader import Reader, choice, setting


class AuthLevel(StrEnum):
    """What the Functions host asks of a request to the routes that score."""

    FUNCTION = "function"
    ANONYMOUS = "anonymous"


class Authenticator(StrEnum):
    """What authenticates callers before the host; the first shows in the environment, the others must be named."""

    APP_SERVICE = "app-service"
    API_MANAGEMENT = "api-management"
    INGRESS = "ingress"


@dataclass(frozen=True)
class Access:
    """The settings of who may call."""

    level: AuthLevel = setting(
        "AUTH_LEVEL",
        choice(AuthLevel),
        AuthLevel.FUNCTION,
        "of the routes that score: `function`, a function key; `anonymous`, none: see `AUTHENTICATED_BY`",
    )
    authenticator: Authenticator = setting(
        "AUTHENTICATED_BY",
        choice(Authenticator),
        Authenticator.APP_SERVICE,
        "for `anonymous`: `app-service` needs App Service authentication to be on; name `api-management` or "
        "`ingress` only where no request can go around it",
    )


def read_access(reader: Reader) -> Access:
    """The settings; that nothing is known to authenticate callers of anonymous routes is a fault."""
    access = reader.read(Access)
    if access.level is AuthLevel.ANONYMOUS and access.authenticator is Authenticator.APP_SERVICE:
        # App Service sets both (https://learn.microsoft.com/azure/app-service/reference-app-settings).
        if reader.system("WEBSITE_AUTH_ENABLED").lower() != "true":
            reader.fault("AUTH_LEVEL", "is 'anonymous', but App Service authentication is off: anybody could score")
        elif reader.system("WEBSITE_AUTH_UNAUTHENTICATED_ACTION").lower() == "allowanonymous":
            reader.fault("AUTH_LEVEL", "is 'anonymous', but App Service authentication lets anonymous requests pass")
    return access


def auth_level(environ: Mapping[str, str]) -> AuthLevel:
    """The level of the routes that score; ``function`` while the settings about it are faulty."""
    reader = Reader(environ)
    access = read_access(reader)
    return AuthLevel.FUNCTION if reader.faults else access.level
