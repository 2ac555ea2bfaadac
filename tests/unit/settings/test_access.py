"""Who may call the routes that score: never everybody by mistake."""

import pytest

from shared.errors import Misconfigured
from shared.settings import AuthLevel, auth_level, load

MINIMAL = {"SERVICES": "cats", "SERVICE__CATS__ADDRESS": "cats", "SERVICE__CATS__TLS": "insecure-no-key-is-sent"}
ANONYMOUS = {"AUTH_LEVEL": "anonymous"}
SIGN_IN = {"WEBSITE_AUTH_ENABLED": "True"}


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, AuthLevel.FUNCTION),
        (SIGN_IN, AuthLevel.FUNCTION),
        ({"AUTH_LEVEL": "function"}, AuthLevel.FUNCTION),
        ({**ANONYMOUS, **SIGN_IN}, AuthLevel.ANONYMOUS),
        ({**ANONYMOUS, **SIGN_IN, "AUTHENTICATED_BY": "app-service"}, AuthLevel.ANONYMOUS),
        ({**ANONYMOUS, **SIGN_IN, "WEBSITE_AUTH_UNAUTHENTICATED_ACTION": "Return401"}, AuthLevel.ANONYMOUS),
        ({**ANONYMOUS, "AUTHENTICATED_BY": "api-management"}, AuthLevel.ANONYMOUS),
        ({**ANONYMOUS, "AUTHENTICATED_BY": "ingress"}, AuthLevel.ANONYMOUS),
    ],
)
def test_the_level_of_the_routes_that_score(environ: dict[str, str], level: AuthLevel) -> None:
    assert auth_level(environ) is level
    load({**MINIMAL, **environ})


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        (ANONYMOUS, "AUTH_LEVEL is 'anonymous', but App Service authentication is off: anybody could score"),
        ({**ANONYMOUS, "WEBSITE_AUTH_ENABLED": "False"}, "App Service authentication is off"),
        (
            {**ANONYMOUS, **SIGN_IN, "WEBSITE_AUTH_UNAUTHENTICATED_ACTION": "AllowAnonymous"},
            "App Service authentication lets anonymous requests pass",
        ),
        ({**ANONYMOUS, "AUTHENTICATED_BY": "nobody"}, "AUTHENTICATED_BY is 'nobody'; it is one of"),
        ({**ANONYMOUS, **SIGN_IN, "AUTHENTICATED_BY": "nobody"}, "AUTHENTICATED_BY is 'nobody'; it is one of"),
        ({"AUTH_LEVEL": "open"}, "AUTH_LEVEL is 'open'; it is one of function, anonymous"),
        ({"AUTH_LEVELS": "anonymous"}, "AUTH_LEVELS is not known; AUTH_LEVEL may be meant"),
    ],
)
def test_what_would_let_everybody_score_is_a_fault_and_asks_for_a_key(environ: dict[str, str], fault: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load({**MINIMAL, **environ})

    assert fault in caught.value.detail
    assert auth_level(environ) is AuthLevel.FUNCTION
