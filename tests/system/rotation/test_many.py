"""Two hundred services in one control plane: each broken one stops with its reason, and the others rotate."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from devstack.authority import Authority, Issued, issue_self_signed
from devstack.authority import fingerprint as fingerprint_of
from devstack.control.store import ControlStore, new_key
from devstack.vault.store import VaultStore
from shared.rotation.decide import Nothing, Reason, Stop
from shared.rotation.scheduler import Outcome, Rotations
from shared.settings import Limits, Settings
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from tests.support.rotation import RotationEnvironment, running_environment, service_settings

ALL = 200

# The longest time that the specification allows one run of the timer, in seconds.
LONGEST_RUN = 30.0

NOW, DAY = dt.datetime.now(dt.UTC), dt.timedelta(days=1)

AUTHORITY = Authority.create("the services' authority")
issue = partial(AUTHORITY.issue, ["127.0.0.1"])


def without_its_issuer() -> Issued:
    one = issue()
    return replace(one, chain=one.certificate)


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a service, the reason why its rotation stops, and a part of the message.

    ``offer`` makes the certificate in Key Vault (None for none), ``enabled`` is whether its versions are, and
    ``forbidden`` whether the gateway must not read it. ``control`` is the control plane's fault at updates, ``data``
    the service's faults at calls, ``deleted`` whether the service is, ``closed`` whether the settings have a port
    without a listener. ``updates`` is the number of updates that the rotation sends.
    """

    reason: str
    message: str = ""
    offer: Callable[[], Issued | str | None] = issue
    enabled: bool = True
    control: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    deleted: bool = False
    closed: bool = False
    forbidden: bool = False
    updates: int = 0


REFUSED = Reason.CERTIFICATE_REFUSED
BROKEN = {
    "without-certificate": Trouble(Reason.NO_CERTIFICATE, offer=lambda: None),
    "all-disabled": Trouble(Reason.NO_CERTIFICATE, enabled=False),
    "expired": Trouble(REFUSED, "it expired on", lambda: issue(valid_for=-DAY)),
    "not-yet-valid": Trouble(REFUSED, "it is valid only from", lambda: issue(not_before=NOW + DAY)),
    "wrong-key": Trouble(
        REFUSED, "the private key is not the certificate's", lambda: replace(issue(), key=issue().key)
    ),
    "wrong-name": Trouble(REFUSED, "it does not cover 127.0.0.1", lambda: AUTHORITY.issue(["cats.example.com"])),
    "missing-intermediate": Trouble(REFUSED, "issuer's certificate is missing", without_its_issuer),
    "self-signed": Trouble(REFUSED, "it is self-signed", lambda: issue_self_signed(["127.0.0.1"], valid_for=90 * DAY)),
    "nonsense": Trouble(REFUSED, "neither PEM nor PKCS#12", lambda: "nonsense"),
    "deleted": Trouble(Reason.ENDPOINT_UNREACHABLE, deleted=True),
    "closed": Trouble(Reason.ENDPOINT_UNREACHABLE, closed=True),
    "failing": Trouble(Reason.UPDATE_FAILED, "the accelerator failed", control="fail", updates=1),
    "hanging": Trouble(Reason.UPDATE_HUNG, "did not end in time", control="hang", updates=1),
    "stale": Trouble(Reason.OLD_CERTIFICATE_SERVED, "it changed nothing", control="stale", updates=1),
    # No evidence about the certificate: tried again in each run.
    "keys-refused": Trouble(
        "keys-refused", "refuses the key", data={"fail_next": 1_000_000, "fail_with": "UNAUTHENTICATED"}, updates=1
    ),
    "nonsense-scores": Trouble("service-answer-invalid", "not finite", data={"answer": "nan"}, updates=1),
    "forbidden": Trouble("vault-forbidden", forbidden=True),
}

# The rotation repairs these two: a damaged state, and a service that serves an unknown certificate.
DAMAGED_STATE, STRANGER = "damaged-state", "unknown-certificate"
SOUND = [DAMAGED_STATE, STRANGER, *(f"sound-{number}" for number in range(ALL - len(BROKEN) - 2))]


@dataclass
class Fleet:
    """The services; ``desired`` has the fingerprint of the certificate that each must serve in the end."""

    environment: RotationEnvironment
    desired: Mapping[str, str]
    ports: Mapping[str, int]

    def settings(self) -> Settings:
        services = {
            name: service_settings(name, 1 if name in BROKEN and BROKEN[name].closed else port)
            for name, port in self.ports.items()
        }
        rotation = self.environment.settings(grace_seconds=0.0, update_seconds=15.0)
        return Settings(services, "sound-0", self.environment.vault_settings, Limits(), rotation)


def seed(folder: Path) -> Mapping[str, str]:
    """Fill the empty folders of the vault and of the control plane; returns the desired fingerprints.

    A thousand secrets would take a minute over the vault's API.
    """
    # As of an hour ago: the rotation waits after a recent change.
    vault = VaultStore(folder / "secrets", clock=lambda: time.time() - 3600)
    (folder / "control").mkdir()
    control = ControlStore(folder / "control" / "state")
    return {name: _seed_one(vault, control, name, BROKEN.get(name)) for name in (*BROKEN, *SOUND)}


def _seed_one(vault: VaultStore, control: ControlStore, name: str, trouble: Trouble | None) -> str:
    old = issue()
    served = issue() if name == STRANGER else old
    keys = {"primary": new_key(), "secondary": new_key()}
    control.seed_service(
        name=name, primary_key=keys["primary"], secondary_key=keys["secondary"], chain=served.chain, key=served.key
    )
    for kind, key in keys.items():
        vault.set(f"{name}-{kind}-key", key)
    vault.set(f"{name}-pins", old.certificate.decode())
    if name == DAMAGED_STATE:
        vault.set(f"{name}-rotation", "nonsense")
    wanted = issue() if trouble is None else trouble.offer()
    if wanted is None:
        return ""
    enabled = trouble is None or trouble.enabled
    vault.set(f"{name}-certificate", (old.key + old.chain).decode(), enabled=enabled)
    text = wanted if isinstance(wanted, str) else (wanted.key + wanted.chain).decode()
    vault.set(f"{name}-certificate", text, enabled=enabled)
    return "" if isinstance(wanted, str) else fingerprint_of(wanted.certificate)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("many")
    desired = seed(folder)
    with running_environment(folder, "--page-size", str(ALL)) as environment:
        found = environment.plane.get("/services")["value"]
        made = Fleet(environment, desired, {each["name"]: each["port"] for each in found})
        assert made.ports.keys() == desired.keys()
        _break(made)
        yield made


def _break(fleet: Fleet) -> None:
    plane = fleet.environment.plane
    plane.set_faults(*({"mode": one.control, "services": [name]} for name, one in BROKEN.items() if one.control))
    fleet.environment.vault.fault(
        mode="forbid", secrets=[f"{name}-certificate" for name, one in BROKEN.items() if one.forbidden]
    )
    for name, one in BROKEN.items():
        if one.data:
            plane.admin(name, {"faults": one.data})
        if one.deleted:
            plane.wait_for_end(plane.call("DELETE", f"/services/{_id(fleet, name)}"))


def _id(fleet: Fleet, name: str) -> str:
    return next(str(each["id"]) for each in fleet.environment.plane.get("/services")["value"] if each["name"] == name)


@pytest.fixture(autouse=True)
def _no_faults() -> None:
    """Replaces the folder's fixture: the faults of these services last."""


@pytest.fixture
async def rotations(fleet: Fleet) -> AsyncIterator[Rotations]:
    settings = fleet.settings()
    assert settings.rotation is not None
    assert settings.vault is not None
    codecs = {name: TensorFlowCodec(service) for name, service in settings.services.items()}
    made = Rotations(settings, settings.rotation, settings.vault, fleet.environment.client(), codecs)
    yield made
    made.close()


def reason(outcome: Outcome) -> str:
    """Why a service's rotation has stopped; empty where it has not."""
    if outcome.observation is None:
        return outcome.problem.slug if outcome.problem else ""
    return str(outcome.observation.step.reason) if isinstance(outcome.observation.step, Stop) else ""


def has_come_to_rest(name: str, outcome: Outcome | None, fleet: Fleet) -> bool:
    if outcome is None:
        return False
    if name in BROKEN:
        return reason(outcome) == BROKEN[name].reason
    observed = outcome.observation
    return observed is not None and isinstance(observed.step, Nothing) and observed.state.served == fleet.desired[name]


@pytest.mark.timeout(400)
async def test_two_hundred_services_rotate_and_the_broken_ones_stop(
    fleet: Fleet, rotations: Rotations, capsys: pytest.CaptureFixture[str]
) -> None:
    last: dict[str, Outcome] = {}
    runs: list[float] = []
    started: list[int] = []
    ends = time.monotonic() + 300

    while restless := [name for name in fleet.desired if not has_come_to_rest(name, last.get(name), fleet)]:
        assert time.monotonic() < ends, {name: (last.get(name), reason(last[name])) for name in restless[:5]}
        began = time.monotonic()
        found = await rotations.run()
        runs.append(time.monotonic() - began)
        started.append(len(found))
        last.update(found)
        await asyncio.sleep(0.2)

    idle = await _idle(rotations)
    with capsys.disabled():
        print(
            f"\n{ALL} services: {len(runs)} runs of {', '.join(f'{each:.1f}' for each in runs)} s, "
            f"the longest {max(runs):.1f} s; services started in each: {started}; "
            f"a run with nothing to do: {idle * 1000:.0f} ms a service"
        )
    assert max(runs) < LONGEST_RUN
    for name, trouble in BROKEN.items():
        observed, problem = last[name].observation, last[name].problem
        if trouble.forbidden:
            assert problem is not None
            assert problem.members == {"secret": f"{name}-certificate"}
        elif observed is None:
            assert problem is not None
            assert trouble.message in problem.detail
        else:
            assert observed is not None
            assert isinstance(observed.step, Stop)
            assert trouble.message in observed.step.message, name
    for name in SOUND:
        observed = last[name].observation
        assert observed is not None
        assert observed.state.pins == {fleet.desired[name]}
    # No service is updated twice, except for a rollback, and none to a refused certificate.
    expected = {name: one.updates for name, one in BROKEN.items() if not one.deleted}
    expected |= dict.fromkeys(("sound-0", "sound-7", DAMAGED_STATE, STRANGER), 1)
    assert await asyncio.to_thread(_updates, fleet, expected) == expected


def _updates(fleet: Fleet, names: Iterable[str]) -> dict[str, int]:
    operations = {name: fleet.environment.plane.admin(name)["operations"] for name in names}
    return {name: sum(each["kind"] == "Update" for each in found) for name, found in operations.items()}


async def _idle(rotations: Rotations) -> float:
    """The mean time of a run for one service that has nothing to do, in seconds."""
    chosen = [f"sound-{number}" for number in range(20)]
    began = time.monotonic()
    for name in chosen:
        await rotations.run([name])
    return (time.monotonic() - began) / len(chosen)
