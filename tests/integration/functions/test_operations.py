"""``GET /api/operations``: each part of each service by itself, whatever of it cannot be read."""

import os
from typing import Any

import azure.functions as func
import pytest

from devstack.authority import Issued, fingerprint
from devstack.fpga import Service
from functions import operations
from shared import operations as reader
from tests.support.app import App, Response, call_function
from tests.support.inference_service import KEYS, StartService

NOT_ROTATED = {
    "not_applicable": "The gateway does not rotate this service (no CONTROL_PLANE_NAME): whoever runs it renews its "
    "certificate."
}


async def ask() -> Response:
    request = func.HttpRequest("GET", "http://localhost/api/operations", body=b"")
    return await call_function(operations.operations_status, request)


def slug(part: Any) -> str:
    return str(part["problem"]["type"]).rpartition(":")[2]


@pytest.fixture
async def several(app: App, start: StartService, service: Service, issued: Issued) -> App:
    """Services of every kind: pinned, with a second address that is down; public; without TLS; and a split."""
    plain = await start(tls=False)
    app.serve(service, issued)
    app.configure(
        SERVICES="all cats public plain",
        SERVICE__ALL__TRAFFIC="cats:90,plain:10",
        SERVICE__PUBLIC__ADDRESS="localhost",
        SERVICE__PUBLIC__PORT=str(service.port),
        SERVICE__PUBLIC__TRUST="public",
        SERVICE__PUBLIC__AUTH="none",
        SERVICE__PUBLIC__PROTOCOL="open-inference",
        SERVICE__PUBLIC__MODEL="imagenet",
        SERVICE__PLAIN__ADDRESS="127.0.0.1",
        SERVICE__PLAIN__PORT=str(plain.port),
        SERVICE__PLAIN__TLS="insecure-no-key-is-sent",
        WEBSITE_INSTANCE_ID="instance-7",
    )
    return app


async def test_every_kind_of_service_shows_what_applies(several: App, issued: Issued) -> None:
    several.configure(SERVICE__CATS__ADDRESS="127.0.0.1,127.0.0.2", SERVICE__CATS__TLS_NAME="localhost")
    await several.score()

    response = await ask()

    assert response.status == 200
    shared, instance = response.json["shared"], response.json["instance"]
    assert shared["traffic"] == {"all": {"cats": 90, "plain": 10}}
    cats = shared["services"]["cats"]
    first, second = cats["served"]["addresses"]
    [pin] = cats["pinned"]["certificates"]
    assert (first["address"], first["certificate"].keys()) == ("127.0.0.1", pin.keys())
    assert first["certificate"]["fingerprint"] == pin["fingerprint"] == fingerprint(issued.certificate)
    assert (pin["subject"], pin["issuer"]) == ("CN=localhost", "CN=Scoring Gateway development CA")
    assert pin["not_before"] < response.json["at"] < pin["not_after"]
    assert 0 < pin["days_left"] < 1000
    assert (second["address"], slug(second)) == ("127.0.0.2", "service-unreachable")
    assert 0 <= cats["keys"]["primary"]["age_days"] < 1
    assert cats["keys"]["primary"]["version"] != cats["keys"]["secondary"]["version"]
    assert cats["stored"] == cats["rotation"] == NOT_ROTATED

    public = shared["services"]["public"]
    assert public["served"]["addresses"][0]["certificate"]["fingerprint"] == pin["fingerprint"]
    assert "TRUST=public" in public["pinned"]["not_applicable"]
    assert "AUTH=none" in public["keys"]["not_applicable"]
    for part in shared["services"]["plain"].values():
        assert "TLS is off" in part["not_applicable"]

    assert (instance["id"], instance["process"]) == ("instance-7", os.getpid())
    own = instance["services"]["cats"]
    assert (own["status"], own["channel"], own["credentials"]["stale"]) == ("ready", "ready", False)
    assert own["admission"] == {"limit": 64, "in_progress": 0, "with_service": 0}
    assert instance["services"]["all"]["members"]["cats"]["weight"] == 90
    assert instance["status"] == "not-ready"
    assert slug(instance["services"]["public"]) == "service-untrusted"
    for secret in (KEYS.primary, KEYS.secondary, "PRIVATE KEY", "BEGIN"):
        assert secret not in response.body.decode()


async def test_errors_and_refusals_are_counted(several: App) -> None:
    def counts(response: Response) -> tuple[int, int]:
        own = response.json["instance"]["services"]["cats"]
        return own["errors"].get("unsupported-image", 0), own["refusals"].get("limit", 0)

    several.configure(DEFAULT_SERVICE="cats")
    before = counts(await ask())
    await several.score(b"not an image")
    after = counts(await ask())

    assert after == (before[0] + 1, before[1])


@pytest.mark.parametrize(
    ("fault", "service_runs", "expected"),
    [
        ({"mode": "hang"}, True, {"pinned": "vault-unreachable", "keys": "vault-unreachable", "served": ""}),
        ({"mode": "forbid"}, False, {"pinned": "vault-forbidden", "served": "service-unreachable"}),
        (
            {"mode": "error", "secrets": ["cats-pins"]},
            True,
            {"pinned": "vault-unreachable", "keys": "", "served": ""},
        ),
    ],
    ids=["vault-hangs", "vault-refuses", "one-secret-fails"],
)
async def test_a_part_that_cannot_be_read_hides_no_other(
    several: App,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, object],
    service_runs: bool,
    expected: dict[str, str],
) -> None:
    monkeypatch.setattr(reader, "SECONDS", 1.0)
    several.vault.fault(**fault)
    if not service_runs:
        await service.stop(0)

    found = (await ask()).json

    cats = found["shared"]["services"]["cats"]
    assert {part: slug(cats[part]) if "problem" in cats[part] else "" for part in expected} == expected
    if fault["mode"] == "hang":
        assert cats["keys"]["problem"]["detail"] == "There was no response within 1 s."
    assert "TLS is off" in found["shared"]["services"]["plain"]["served"]["not_applicable"]
    assert found["instance"]["services"]["plain"]["status"] == "ready"


async def test_a_name_that_does_not_resolve_and_a_secondary_key_that_is_missing(several: App) -> None:
    several.configure(SERVICE__CATS__ADDRESS="nowhere.invalid", SERVICE__CATS__SECONDARY_KEY_SECRET="no-such-key")

    cats = (await ask()).json["shared"]["services"]["cats"]

    assert slug(cats["served"]) == "service-name-unresolved"
    assert (cats["keys"]["secondary"], "version" in cats["keys"]["primary"]) == (None, True)


async def test_an_unexpected_fault_is_an_error_of_its_part(
    several: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a-secret-text")

    monkeypatch.setattr("shared.rotation.overview.status.pins", broken)
    assert several

    response = await ask()

    cats = response.json["shared"]["services"]["cats"]
    assert (slug(cats["pinned"]), "primary" in cats["keys"]) == ("internal-error", True)
    assert "operations, pinned of cats: internal-error ZeroDivisionError at shared/operations.py" in caplog.text
    assert "a-secret-text" not in response.body.decode() + caplog.text
