"""Which parts of the operations a service has."""

from dataclasses import replace

import pytest

from shared.rotation.overview import PARTS, not_applicable
from shared.settings import Auth, ServiceSettings, Tls, Trust

ROTATED = ServiceSettings("cats", "cats.example", control_plane_name="cats")


@pytest.mark.parametrize(
    ("service", "absent"),
    [
        (ROTATED, {}),
        (replace(ROTATED, control_plane_name=""), {"stored": "CONTROL_PLANE_NAME", "rotation": "CONTROL_PLANE_NAME"}),
        (replace(ROTATED, trust=Trust.PUBLIC), {"pinned": "TRUST=public"}),
        (replace(ROTATED, trust=Trust.BOTH), {}),
        (replace(ROTATED, auth=Auth.BEARER), {}),
        (replace(ROTATED, auth=Auth.NONE), {"keys": "AUTH=none"}),
        (replace(ROTATED, auth=Auth.ENTRA), {"keys": "AUTH=entra"}),
        (replace(ROTATED, tls=Tls.INSECURE, auth=Auth.NONE), dict.fromkeys(PARTS, "TLS=insecure-no-key-is-sent")),
    ],
)
def test_what_a_service_does_not_have_names_the_setting(service: ServiceSettings, absent: dict[str, str]) -> None:
    found = not_applicable(service)

    assert found.keys() == absent.keys()
    assert all(setting in found[part] for part, setting in absent.items())
