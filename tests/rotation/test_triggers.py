"""The triggers of rotations, called as the worker calls them, with every server behind them real."""

import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import azure.functions as func
import pytest

from devstack.authority import fingerprint
from functions import rotation
from shared import gateway
from shared.trust import lease
from tests.faults import lab
from tests.faults.documented import documents
from tests.faults.lab import Answer
from tests.rotation.worlds import ACCOUNT, Rotated, World

type Configure = Callable[..., None]


@pytest.fixture(scope="module")
def cats(world: World) -> Rotated:
    """A service whose certificate is verified and pinned alone, for tests that leave it so."""
    return _steady(world, "cats")


def _steady(world: World, name: str) -> Rotated:
    made = world.service(name)
    made.until("certificate-verified")
    return made


@pytest.fixture
async def configure(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Configure]:
    """Sets the app settings of a gateway that rotates some services, and not the service ``dogs``."""
    common = {
        "KEY_VAULT_URL": world.vault.address,
        "KEY_VAULT_CA_FILE": str(world.vault.ca),
        "CREDENTIALS_REFRESH_SECONDS": "1",
        "CONTROL_PLANE_SUBSCRIPTION": ACCOUNT.subscription,
        "CONTROL_PLANE_GROUP": ACCOUNT.group,
        "CONTROL_PLANE_ACCOUNT": ACCOUNT.name,
        "CONTROL_PLANE_ARM_ENDPOINT": world.control,
        "CONTROL_PLANE_CA_FILE": str(world.vault.ca),
        "ROTATION_GRACE_SECONDS": "0",
        "SERVICE__DOGS__ADDRESS": "127.0.0.1",
    }

    def to(*rotated: Rotated, **more: str) -> None:
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


async def status(**params: str) -> Answer:
    """What ``GET /api/rotation`` answers."""
    request = func.HttpRequest("GET", "http://localhost/api/rotation", params=params, body=b"")
    return await lab._call(rotation.rotation_status, request)  # as the worker calls a function


async def run(body: bytes | None = None, **members: Any) -> Answer:
    """What ``POST /api/rotation`` answers."""
    sent = json.dumps(members).encode() if body is None else body
    request = func.HttpRequest("POST", "http://localhost/api/rotation", body=sent)
    return await lab._call(rotation.rotation_run, request)  # as the worker calls a function


async def timer() -> None:
    await rotation.rotate.build().get_user_function()(timer=None)


async def event(secret: object, kind: str = "Microsoft.KeyVault.SecretNewVersionCreated") -> None:
    told = func.EventGridEvent(
        id="1",
        data={"ObjectName": secret} if isinstance(secret, str) else secret,  # type: ignore[arg-type]  # whatever is sent
        topic="vault",
        subject=str(secret),
        event_type=kind,
        event_time=dt.datetime.now(dt.UTC),
        data_version="1",
    )
    await rotation.vault_event.build().get_user_function()(event=told)


def kinds(answer: Answer, service: str) -> list[str]:
    """The events that an answer tells of a service."""
    return [one["event"] for one in answer.json["services"][service].get("events", [])]


# --- GET -----------------------------------------------------------------------------------------


async def test_the_status_of_all_services(world: World, cats: Rotated, configure: Configure) -> None:
    lions = world.service("lions-new")
    configure(cats, lions)

    answer = await status()

    assert answer.status == 200
    assert list(answer.json["services"]) == ["cats", "lions-new"]
    told = answer.json["services"]["cats"]
    assert (told["phase"], told["next_step"], told["last_error"]) == ("steady", {"action": "nothing"}, None)
    assert told["served"]["fingerprint"] == told["desired"]["fingerprint"] == told["verified"]["fingerprint"]
    assert [pin["fingerprint"] for pin in told["pinned"]] == [cats.served()]
    assert told["keys"]["next_step"] == {"action": "nothing"}
    assert answer.json["services"]["lions-new"]["phase"] == "verifying"


async def test_the_status_of_one_service(world: World, cats: Rotated, configure: Configure) -> None:
    configure(cats, world.service("lions-one"))

    assert list((await status(service="cats")).json["services"]) == ["cats"]


async def test_no_status_holds_a_secret(world: World, cats: Rotated, configure: Configure) -> None:
    configure(cats)

    text = (await status()).body.decode()

    assert cats.served() in text
    for secret in (*world.plane.keys({"id": cats.id}), "PRIVATE KEY"):
        assert secret not in text


async def test_the_status_of_an_unknown_service(cats: Rotated, configure: Configure) -> None:
    configure(cats)

    answer = await status(service="wolves")

    assert (answer.status, answer.problem, answer.json["services"]) == (404, "unknown-service", ["cats", "dogs"])


async def test_a_service_that_is_not_rotated(cats: Rotated, configure: Configure) -> None:
    configure(cats)

    answer = await status(service="dogs")

    assert answer.status == 409
    assert documents("not-rotated", answer.json)
    assert (await run(service="dogs")).problem == "not-rotated"


async def test_a_gateway_that_rotates_nothing(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    configure()

    assert (await status()).problem == "not-rotated"
    assert (await run()).problem == "not-rotated"
    await timer()
    await event("cats-certificate")
    assert caplog.messages == []


# --- POST ----------------------------------------------------------------------------------------


async def test_a_dry_run_changes_nothing(world: World, configure: Configure) -> None:
    lions = _steady(world, "lions-dry")
    lions.offer()
    configure(lions)
    before, keys = lions.versions(), world.plane.keys({"id": lions.id})

    answer = await run(service="lions-dry", dry_run=True, rotate_keys=True)

    assert answer.status == 200
    assert answer.json["dry_run"] is True
    assert answer.json["services"]["lions-dry"]["next_step"]["action"] == "add-pin"
    assert lions.versions() == before
    assert (lions.updates(), world.plane.keys({"id": lions.id})) == (0, keys)


async def test_a_run_takes_the_steps_and_tells_of_them(world: World, configure: Configure) -> None:
    lions = _steady(world, "lions-run")
    desired = lions.offer()
    configure(lions)
    happened: list[str] = []

    async def until_steady() -> bool:
        answer = await run()
        assert answer.json["dry_run"] is False
        happened.extend(kinds(answer, "lions-run"))
        return bool(answer.json["services"]["lions-run"]["phase"] == "steady")

    await lab.until(until_steady, seconds=60)

    assert happened[0] == "pin-added"
    assert happened[-2:] == ["certificate-rotated", "old-pins-dropped"]
    told = (await status()).json["services"]["lions-run"]
    assert told["served"]["fingerprint"] == lions.served() == fingerprint(desired.certificate)
    assert [step["event"] for step in told["history"]][-len(happened) :] == happened


async def test_keys_are_rotated_on_request(world: World, configure: Configure) -> None:
    lions = _steady(world, "lions-keys")
    configure(lions)

    answer = await run(service="lions-keys", rotate_keys=True)

    assert kinds(answer, "lions-keys")[0] == "key-rotation-requested"
    assert answer.json["services"]["lions-keys"]["keys"]["rotation"] == "under-way"


async def test_what_failed_is_tried_again_on_request(world: World, configure: Configure) -> None:
    lions = _steady(world, "lions-retry")
    world.plane.switch({"mode": "fail", "services": ["lions-retry"], "message": "no accelerator is free"})
    lions.offer()
    lions.until("rotation-stopped")
    world.plane.switch()
    configure(lions)

    refused = (await run()).json["services"]["lions-retry"]
    assert (refused["phase"], refused["next_step"]["reason"]) == ("stopped", "update-failed")
    assert refused["failed"][0]["detail"] == "no accelerator is free"
    happened = kinds(await run(retry=True), "lions-retry")

    async def until_sent() -> bool:
        # The gateways may still be getting their time to read the pin.
        happened.extend(kinds(await run(), "lions-retry"))
        return "update-sent" in happened

    await lab.until(until_sent, seconds=60)

    assert happened[:2] == ["rotation-resumed", "update-sent"]
    assert lions.updates() == 2


async def test_a_run_while_another_is_at_work(cats: Rotated, configure: Configure) -> None:
    configure(cats)

    with lease.held(cats.vault, "cats-rotation-lease", 60):
        answer = await run(service="cats", retry=True)

    assert answer.status == 409
    assert documents("rotation-busy", answer.json)
    assert 1 <= int(answer.headers["retry-after"]) <= 60


BAD_BODIES = {
    "not JSON": b"{",
    "not UTF-8": b'{"service": "\xff"}',
    "no object": b"[1]",
    "nested without end": b"[" * 100_000,
    "an unknown member": b'{"force": true}',
    "a number for a name": b'{"service": 1}',
    "a word for a truth": b'{"dry_run": "yes"}',
    "a number for a truth": b'{"retry": 1}',
    "nothing for a truth": b'{"rotate_keys": null}',
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_body_begins_nothing(cats: Rotated, configure: Configure, case: str) -> None:
    configure(cats)
    before = cats.versions()

    answer = await run(BAD_BODIES[case])

    assert (answer.status, answer.problem) == (400, "invalid-parameter")
    assert "dry_run" in answer.json["expected"]
    assert cats.versions() == before


# --- The control plane ---------------------------------------------------------------------------


async def test_a_control_plane_that_refuses(cats: Rotated, configure: Configure) -> None:
    configure(cats, SERVICE__CATS__CONTROL_PLANE_NAME="lions")

    answer = await run(service="cats", rotate_keys=True)

    assert answer.status == 502
    assert documents("control-plane-refused", answer.json)
    # What can be seen without it is told nonetheless, with the problem beside it.
    told = (await status()).json["services"]["cats"]
    assert (told["phase"], told["keys"]) == ("steady", None)
    assert told["problem"]["type"].endswith(":control-plane-refused")


async def test_a_control_plane_that_is_away(cats: Rotated, configure: Configure) -> None:
    configure(cats, CONTROL_PLANE_ARM_ENDPOINT="https://localhost:1")  # where nothing listens

    answer = await run(service="cats", rotate_keys=True)

    assert answer.status == 503
    assert documents("control-plane-unreachable", answer.json)
    assert int(answer.headers["retry-after"]) >= 1


# --- The timer -----------------------------------------------------------------------------------


async def test_the_timer_brings_every_service_further(world: World, configure: Configure) -> None:
    made = [_steady(world, name) for name in ("lions-timer", "tigers-timer")]
    for one in made:
        one.offer()
    configure(*made)

    await timer()

    assert [len(one.pinned()) for one in made] == [2, 2]


async def test_a_service_in_trouble_does_not_stop_the_timer(
    world: World, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    lions, tigers = _steady(world, "lions-sound"), _steady(world, "tigers-broken")
    lions.offer()
    world.vault.fault(mode="forbid", secrets=["tigers-broken-certificate"])
    configure(lions, tigers)

    await timer()

    assert len(lions.pinned()) == 2
    problem = (await status()).json["services"]["tigers-broken"]["problem"]
    assert problem["type"].endswith(":vault-forbidden")
    blocked = [line for line in caplog.messages if "rotation-blocked" in line]
    assert len(blocked) == 1
    # The same trouble is told once.
    await timer()
    assert [line for line in caplog.messages if "rotation-blocked" in line] == blocked


async def test_the_timer_of_a_misconfigured_gateway(
    cats: Rotated, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(cats, CONTROL_PLANE_ACCOUNT="")

    await timer()

    (told,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert "misconfigured" in told.message
    assert "CONTROL_PLANE_ACCOUNT" in told.message
    assert told.exc_info is None


# --- Key Vault's events --------------------------------------------------------------------------


async def test_an_event_of_a_certificate_looks_after_its_service_alone(world: World, configure: Configure) -> None:
    lions, tigers = _steady(world, "lions-event"), _steady(world, "tigers-event")
    lions.offer()
    tigers.offer()
    configure(lions, tigers)

    # Key Vault's names are the same in any case.
    await event("Lions-Event-Certificate")

    assert (len(lions.pinned()), len(tigers.pinned())) == (2, 1)


async def test_other_events_are_ignored(world: World, configure: Configure) -> None:
    lions = _steady(world, "lions-deaf")
    lions.offer()
    configure(lions)
    before = lions.versions()

    await event("lions-deaf-pins")
    await event("lions-deaf-certificate", kind="Microsoft.KeyVault.KeyNewVersionCreated")
    await event("")
    await event(["lions-deaf-certificate"])

    assert lions.versions() == before
