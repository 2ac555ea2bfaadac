"""The triggers of rotations, called as the worker calls them, with real servers."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import azure.functions as func
import pytest

from devstack.authority import fingerprint
from functions import operations, rotation
from shared import gateway
from shared.rotation import scheduler
from shared.rotation.lease import Leases
from tests.support import app
from tests.support.app import Response
from tests.support.documented_errors import matches_example
from tests.support.odd_certificates import self_signed
from tests.support.rotation import ACCOUNT, RotatedService, RotationEnvironment

type Configure = Callable[..., None]


@pytest.fixture(scope="module")
def cats(environment: RotationEnvironment) -> RotatedService:
    """A service whose certificate is verified and pinned alone, for tests that leave it so."""
    return environment.steady("cats")


@pytest.fixture
async def configure(environment: RotationEnvironment, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Configure]:
    """Sets the app settings of a gateway that rotates some services, and not the service ``dogs``."""
    common = {
        "KEY_VAULT_URL": environment.vault.address,
        "KEY_VAULT_CA_FILE": str(environment.vault.ca),
        "CREDENTIALS_REFRESH_SECONDS": "1",
        "CONTROL_PLANE_SUBSCRIPTION": ACCOUNT.subscription,
        "CONTROL_PLANE_GROUP": ACCOUNT.group,
        "CONTROL_PLANE_ACCOUNT": ACCOUNT.name,
        "CONTROL_PLANE_ARM_ENDPOINT": environment.control,
        "CONTROL_PLANE_CA_FILE": str(environment.vault.ca),
        "ROTATION_GRACE_SECONDS": "0",
        "SERVICE__DOGS__ADDRESS": "127.0.0.1",
    }

    def to(*rotated: RotatedService, **more: str) -> None:
        found = {**common, "SERVICES": " ".join([*(one.name for one in rotated), "dogs"])}
        for one in rotated:
            prefix = f"SERVICE__{one.name.upper().replace('-', '_')}__"
            found |= {
                f"{prefix}ADDRESS": "127.0.0.1",
                f"{prefix}PORT": str(one.settings.port),
                f"{prefix}CONTROL_PLANE_NAME": one.settings.control_plane_name,
            }
        for name, value in {**found, **more}.items():
            monkeypatch.setenv(name, value)

    yield to
    await gateway.forget()


async def status(**params: str) -> Response:
    """The response of ``GET /api/rotation``."""
    request = func.HttpRequest("GET", "http://localhost/api/rotation", params=params, body=b"")
    return await app.call_function(rotation.rotation_status, request)


async def run(body: bytes | None = None, **members: Any) -> Response:
    """The response of ``POST /api/rotation``."""
    sent = json.dumps(members).encode() if body is None else body
    request = func.HttpRequest("POST", "http://localhost/api/rotation", body=sent)
    return await app.call_function(rotation.rotation_run, request)


async def timer() -> None:
    await rotation.rotate.build().get_user_function()(timer=None)


async def event(secret: object, kind: str = "Microsoft.KeyVault.SecretNewVersionCreated") -> None:
    sent = func.EventGridEvent(
        id="1",
        data={"ObjectName": secret} if isinstance(secret, str) else secret,  # type: ignore[arg-type]  # whatever is sent
        topic="vault",
        subject=str(secret),
        event_type=kind,
        event_time=dt.datetime.now(dt.UTC),
        data_version="1",
    )
    await rotation.vault_event.build().get_user_function()(event=sent)


def kinds(response: Response, service: str) -> list[str]:
    """The events of a service in a response."""
    return [one["event"] for one in response.json["services"][service].get("events", [])]


# --- GET -----------------------------------------------------------------------------------------


async def test_the_status_of_services(
    environment: RotationEnvironment, cats: RotatedService, configure: Configure
) -> None:
    configure(cats, environment.service("lions-new"))

    response = await status()

    assert response.status == 200
    assert list(response.json["services"]) == ["cats", "lions-new"]
    one = response.json["services"]["cats"]
    assert (one["phase"], one["next_step"], one["last_error"]) == ("steady", {"action": "nothing"}, None)
    assert one["served"]["fingerprint"] == one["desired"]["fingerprint"] == one["verified"]["fingerprint"]
    assert [pin["fingerprint"] for pin in one["pinned"]] == [cats.served()]
    assert one["keys"]["next_step"] == {"action": "nothing"}
    assert response.json["services"]["lions-new"]["phase"] == "verifying"
    for secret in (*environment.plane.keys({"id": cats.id}), "PRIVATE KEY"):
        assert secret not in response.body.decode()
    assert list((await status(service="cats")).json["services"]) == ["cats"]


async def test_the_operations_of_a_rotated_service(
    environment: RotationEnvironment, cats: RotatedService, configure: Configure
) -> None:
    configure(cats)
    request = func.HttpRequest("GET", "http://localhost/api/operations", body=b"")
    response = await app.call_function(operations.operations_status, request)

    for secret in (*environment.plane.keys({"id": cats.id}), "PRIVATE KEY", "BEGIN"):
        assert secret not in response.body.decode()
    found = response.json["shared"]["services"]

    one, seen = found["cats"], (await status()).json["services"]["cats"]
    assert one["stored"]["certificate"]["fingerprint"] == cats.served()
    assert [pin["fingerprint"] for pin in one["pinned"]["certificates"]] == [cats.served()]
    assert one["keys"]["primary"]["stored_at"] == seen["keys"]["primary"]["stored_at"]
    assert one["rotation"]["keys"] == {"rotation": "idle", "next_step": {"action": "nothing"}}
    shown = one["rotation"].keys() - {"keys"}
    assert {name: one["rotation"][name] for name in shown} == {name: seen[name] for name in shown}
    assert shown == {"phase", "steps", "next_step", "verified", "failed", "last_error", "history"}
    assert found["dogs"]["pinned"]["problem"]["secret"] == "dogs-pins"
    assert "CONTROL_PLANE_NAME" in found["dogs"]["rotation"]["not_applicable"]

    # The vault's other secrets are read, and so are the keys, while the rotation cannot be observed.
    environment.vault.fault(mode="forbid", secrets=["cats-rotation"])
    one = (await app.call_function(operations.operations_status, request)).json["shared"]["services"]["cats"]
    assert one["rotation"]["problem"]["secret"] == one["stored"]["problem"]["secret"] == "cats-rotation"
    assert "certificates" in one["pinned"]
    assert "primary" in one["keys"]
    assert "certificate" in one["served"]["addresses"][0]


async def test_the_status_of_an_unknown_service(cats: RotatedService, configure: Configure) -> None:
    configure(cats)

    response = await status(service="wolves")

    assert (response.status, response.problem, response.json["services"]) == (404, "unknown-service", ["cats", "dogs"])


async def test_a_service_that_is_not_rotated(cats: RotatedService, configure: Configure) -> None:
    configure(cats)

    response = await status(service="dogs")

    assert response.status == 409
    assert matches_example("not-rotated", response.json)
    assert (await run(service="dogs")).problem == "not-rotated"


async def test_a_gateway_that_rotates_nothing(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    configure()

    assert (await status()).problem == "not-rotated"
    assert (await run()).problem == "not-rotated"
    await timer()
    await event("cats-certificate")
    assert caplog.messages == []


# --- POST ----------------------------------------------------------------------------------------


async def test_a_dry_run_changes_nothing(environment: RotationEnvironment, configure: Configure) -> None:
    lions = environment.steady("lions-dry")
    lions.offer()
    configure(lions)
    before, keys = lions.versions(), environment.plane.keys({"id": lions.id})

    response = await run(service="lions-dry", dry_run=True, rotate_keys=True)

    assert response.status == 200
    assert response.json["dry_run"] is True
    assert response.json["services"]["lions-dry"]["next_step"]["action"] == "add-pin"
    assert lions.versions() == before
    assert (lions.updates(), environment.plane.keys({"id": lions.id})) == (0, keys)


async def test_a_run_takes_the_steps_and_reports_them(environment: RotationEnvironment, configure: Configure) -> None:
    lions = environment.steady("lions-run")
    desired = lions.offer()
    configure(lions)
    happened: list[str] = []

    async def until_steady() -> bool:
        response = await run()
        assert response.json["dry_run"] is False
        happened.extend(kinds(response, "lions-run"))
        return bool(response.json["services"]["lions-run"]["phase"] == "steady")

    await app.until(until_steady, seconds=60)

    assert happened[0] == "pin-added"
    assert happened[-2:] == ["certificate-rotated", "old-pins-dropped"]
    found = (await status()).json["services"]["lions-run"]
    assert found["served"]["fingerprint"] == lions.served() == fingerprint(desired.certificate)
    assert [step["event"] for step in found["history"]][-len(happened) :] == happened


async def test_keys_are_rotated_on_request(environment: RotationEnvironment, configure: Configure) -> None:
    lions = environment.steady("lions-keys")
    configure(lions)

    response = await run(service="lions-keys", rotate_keys=True)

    assert kinds(response, "lions-keys")[0] == "key-rotation-requested"
    assert response.json["services"]["lions-keys"]["keys"]["rotation"] == "under-way"


async def test_a_failed_update_is_retried_on_request(environment: RotationEnvironment, configure: Configure) -> None:
    lions = environment.steady("lions-retry")
    environment.plane.set_faults({"mode": "fail", "services": ["lions-retry"], "message": "no accelerator is free"})
    lions.offer()
    lions.until("rotation-stopped")
    environment.plane.set_faults()
    configure(lions)

    refused = (await run()).json["services"]["lions-retry"]
    assert (refused["phase"], refused["next_step"]["reason"]) == ("stopped", "update-failed")
    assert refused["failed"][0]["detail"] == "no accelerator is free"
    happened = kinds(await run(retry=True), "lions-retry")

    async def until_sent() -> bool:
        # The time for the gateways to read the pin may not have passed.
        happened.extend(kinds(await run(), "lions-retry"))
        return "update-sent" in happened

    await app.until(until_sent, seconds=60)

    assert happened[:2] == ["rotation-resumed", "update-sent"]
    assert lions.updates() == 2


async def test_a_run_while_another_is_in_progress(cats: RotatedService, configure: Configure) -> None:
    configure(cats)

    with Leases(cats.vault).acquired("cats-rotation-lease", 60):
        response = await run(service="cats", retry=True)

    assert response.status == 409
    assert matches_example("rotation-busy", response.json)
    assert 1 <= int(response.headers["retry-after"]) <= 60


async def test_pins_for_which_there_is_no_room(environment: RotationEnvironment, configure: Configure) -> None:
    full = await asyncio.to_thread(environment.steady, "full")
    configure(full)
    persons = [self_signed(subject=f"{number}") for number in range(60)]
    text = full.vault.read("full-pins").value
    for one in persons:
        if len(text) + len(one.certificate) < 25_500:
            text += one.certificate.decode()
    full.vault.write("full-pins", text)
    full.offer()

    response = await run(service="full")

    assert response.status == 503
    assert matches_example("vault-rejected", response.json)
    assert full.vault.read("full-pins").value == text


INVALID_BODIES = {
    "not JSON": b"{",
    "not UTF-8": b'{"service": "\xff"}',
    "not an object": b"[1]",
    "nested too deeply": b"[" * 100_000,
    "an unknown member": b'{"force": true}',
    "a name that is a number": b'{"service": 1}',
    "a boolean that is a string": b'{"dry_run": "yes"}',
    "a boolean that is a number": b'{"retry": 1}',
    "a boolean that is null": b'{"rotate_keys": null}',
}


@pytest.mark.parametrize("case", INVALID_BODIES)
async def test_an_invalid_body_starts_nothing(cats: RotatedService, configure: Configure, case: str) -> None:
    configure(cats)
    before = cats.versions()

    response = await run(INVALID_BODIES[case])

    assert (response.status, response.problem) == (400, "invalid-parameter")
    assert "dry_run" in response.json["expected"]
    assert cats.versions() == before


# --- The control plane ---------------------------------------------------------------------------


async def test_a_control_plane_that_refuses(cats: RotatedService, configure: Configure) -> None:
    configure(cats, SERVICE__CATS__CONTROL_PLANE_NAME="lions")

    response = await run(service="cats", rotate_keys=True)

    assert response.status == 502
    assert matches_example("control-plane-refused", response.json)
    # The status has all that needs no control plane, and the problem.
    found = (await status()).json["services"]["cats"]
    assert (found["phase"], found["keys"]) == ("steady", None)
    assert found["problem"]["type"].endswith(":control-plane-refused")


async def test_an_unreachable_control_plane(cats: RotatedService, configure: Configure) -> None:
    configure(cats, CONTROL_PLANE_ARM_ENDPOINT="https://localhost:1")  # where nothing listens

    response = await run(service="cats", rotate_keys=True)

    assert response.status == 503
    assert matches_example("control-plane-unreachable", response.json)
    assert int(response.headers["retry-after"]) >= 1


# --- The timer -----------------------------------------------------------------------------------


async def test_the_timer_runs_the_rotation_of_every_service(
    environment: RotationEnvironment, configure: Configure
) -> None:
    made = [environment.steady(name) for name in ("lions-timer", "tigers-timer")]
    for one in made:
        one.offer()
    configure(*made)

    await timer()

    assert [len(one.pinned()) for one in made] == [2, 2]


async def test_a_failing_service_does_not_stop_the_timer_and_is_tried_again_after_a_pause(
    environment: RotationEnvironment,
    configure: Configure,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lions, tigers = environment.steady("lions-sound"), environment.steady("tigers-broken")
    lions.offer()
    environment.vault.fault(mode="forbid", secrets=["tigers-broken-certificate"])
    configure(lions, tigers)

    await timer()

    assert len(lions.pinned()) == 2
    problem = (await status()).json["services"]["tigers-broken"]["problem"]
    assert problem["type"].endswith(":vault-forbidden")
    blocked = [line for line in caplog.messages if "rotation-blocked" in line]
    assert len(blocked) == 1
    # A problem that lasts is logged once.
    monkeypatch.setattr(scheduler, "BLOCKED_FIRST", scheduler.BLOCKED_LAST)
    assert (await run()).json["services"]["tigers-broken"]["problem"]["type"].endswith(":vault-forbidden")
    assert [line for line in caplog.messages if "rotation-blocked" in line] == blocked
    # The timer leaves the service alone for a while; whoever asks for a run has one.
    environment.vault.fault()
    await timer()
    assert not [line for line in caplog.messages if "rotation-unblocked" in line]
    assert kinds(await run(), "tigers-broken") == ["rotation-unblocked"]


async def test_the_timer_of_a_misconfigured_gateway(
    cats: RotatedService, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(cats, CONTROL_PLANE_ACCOUNT="")

    await timer()

    (found,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert "misconfigured" in found.message
    assert "CONTROL_PLANE_ACCOUNT" in found.message
    assert found.exc_info is None


# --- Key Vault's events --------------------------------------------------------------------------


async def test_an_event_of_a_certificate_runs_the_rotation_of_its_service_only(
    environment: RotationEnvironment, configure: Configure
) -> None:
    lions, tigers = environment.steady("lions-event"), environment.steady("tigers-event")
    lions.offer()
    tigers.offer()
    configure(lions, tigers)

    # Key Vault's names are the same in any case.
    await event("Lions-Event-Certificate")

    assert (len(lions.pinned()), len(tigers.pinned())) == (2, 1)


async def test_other_events_are_ignored(environment: RotationEnvironment, configure: Configure) -> None:
    lions = environment.steady("lions-deaf")
    lions.offer()
    configure(lions)
    before = lions.versions()

    await event("lions-deaf-pins")
    await event("lions-deaf-certificate", kind="Microsoft.KeyVault.KeyNewVersionCreated")
    await event("")
    await event(["lions-deaf-certificate"])

    assert lions.versions() == before
