"""Two hundred services in one control plane: the broken ones, each in its own way, stop nobody else."""

import asyncio
import datetime as dt
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devstack.authority import Authority, Issued
from devstack.authority import fingerprint as fingerprint_of
from devstack.control.store import ControlStore, new_key
from devstack.vault.store import VaultStore
from shared.rotations import Outcome, Rotations
from shared.settings import Limits, ServiceSettings, Settings
from shared.trust.rotation import Nothing, Reason, Stop
from tests.rotation.worlds import World, running_world

ALL = 200

# What the specification allows one tick, in seconds.
LONGEST_TICK = 30.0

DAY = dt.timedelta(days=1)

AUTHORITY = Authority.create("the services' authority")


def issue(names: list[str] | None = None, **more: dt.timedelta) -> Issued:
    return AUTHORITY.issue(names or ["127.0.0.1"], **more)  # type: ignore[arg-type]  # the option's own type


def with_another_key() -> Issued:
    one, other = issue(), issue()
    return Issued(one.certificate, other.key, one.chain)


def without_its_issuer() -> Issued:
    one = issue()
    return Issued(one.certificate, one.key, one.certificate)


def self_signed() -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + 90 * DAY)
    leaf = builder.add_extension(x509.SubjectAlternativeName([loopback]), critical=False).sign(key, hashes.SHA256())
    text = leaf.public_bytes(serialization.Encoding.PEM)
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(text, own, text)


@dataclass(frozen=True)
class Trouble:
    """What ails a service, and what is said of it.

    ``offer`` makes the certificate that Key Vault holds for it, None for none; ``enabled`` is its versions', and
    ``forbidden`` whether the gateway may not read it. ``control`` is what the control plane does with its updates,
    ``data`` what the service does with calls, ``deleted`` whether it is gone, ``closed`` whether the settings lead to a
    port where nothing listens.
    """

    reason: str
    said: str = ""
    offer: Callable[[], Issued | str | None] = issue
    enabled: bool = True
    control: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    deleted: bool = False
    closed: bool = False
    forbidden: bool = False


REFUSED = Reason.CERTIFICATE_REFUSED
BROKEN = {
    "without-certificate": Trouble(Reason.NO_CERTIFICATE, offer=lambda: None),
    "all-disabled": Trouble(Reason.NO_CERTIFICATE, enabled=False),
    "expired": Trouble(REFUSED, "it expired on", lambda: issue(valid_for=-DAY)),
    "wrong-key": Trouble(REFUSED, "the private key is not the certificate's", with_another_key),
    "wrong-name": Trouble(REFUSED, "it is not for 127.0.0.1", lambda: issue(["cats.example.com"])),
    "missing-intermediate": Trouble(REFUSED, "issuer's certificate is missing", without_its_issuer),
    "self-signed": Trouble(REFUSED, "it is self-signed", self_signed),
    "nonsense": Trouble(REFUSED, "neither PEM nor PKCS#12", lambda: "nonsense"),
    "deleted": Trouble(Reason.ENDPOINT_UNREACHABLE, deleted=True),
    "closed": Trouble(Reason.ENDPOINT_UNREACHABLE, closed=True),
    "failing": Trouble(Reason.UPDATE_FAILED, "the accelerator failed", control="fail"),
    "hanging": Trouble(Reason.UPDATE_HUNG, "did not end in time", control="hang"),
    "stale": Trouble(Reason.OLD_CERTIFICATE_SERVED, "it changed nothing", control="stale"),
    "keys-refused": Trouble(
        Reason.ROLLBACK_FAILED, "keys", data={"fail_next": 1_000_000, "fail_with": "UNAUTHENTICATED"}
    ),
    "nonsense-scores": Trouble(Reason.ROLLBACK_FAILED, "not numbers", data={"answer": "nan"}),
    "forbidden": Trouble("vault-forbidden", forbidden=True),
}

# These have something to get over, and do.
BROKEN_NOTE, STRANGER = "broken-note", "unknown-certificate"
SOUND = [BROKEN_NOTE, STRANGER, *(f"sound-{number}" for number in range(ALL - len(BROKEN) - 2))]


@dataclass
class Fleet:
    """The services as they were made: what each is to serve in the end, by its fingerprint."""

    world: World
    desired: Mapping[str, str]
    ports: Mapping[str, int]

    def settings(self) -> Settings:
        services = {
            name: ServiceSettings(
                name,
                "127.0.0.1",
                1 if name in BROKEN and BROKEN[name].closed else port,
                primary_key_secret=f"{name}-primary-key",
                secondary_key_secret=f"{name}-secondary-key",
                pins_secret=f"{name}-pins",
                control_plane_name=name,
                certificate_secret=f"{name}-certificate",
            )
            for name, port in self.ports.items()
        }
        rotation = self.world.settings(grace_seconds=0.0, update_seconds=15.0)
        return Settings(services, "sound-0", self.world.vault_settings, Limits(), rotation)


def seed(folder: Path) -> Mapping[str, str]:
    """Fill the empty folders of the vault and of the control plane; returns the fingerprints that are wanted.

    Directly and not by the services' own doors, which a thousand secrets would take a minute to pass.
    """
    # As of an hour ago: what was stored just now is waited for.
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
    if name == BROKEN_NOTE:
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
    with running_world(folder, "--page-size", str(ALL)) as world:
        found = world.plane.get("/services")["value"]
        made = Fleet(world, desired, {each["name"]: each["port"] for each in found})
        assert made.ports.keys() == desired.keys()
        _break(made)
        yield made


def _break(fleet: Fleet) -> None:
    plane = fleet.world.plane
    plane.switch(*({"mode": one.control, "services": [name]} for name, one in BROKEN.items() if one.control))
    fleet.world.vault.fault(
        mode="forbid", secrets=[f"{name}-certificate" for name, one in BROKEN.items() if one.forbidden]
    )
    for name, one in BROKEN.items():
        if one.data:
            plane.admin(name, {"faults": one.data})
        if one.deleted:
            plane.ended(plane.call("DELETE", f"/services/{_id(fleet, name)}"))


def _id(fleet: Fleet, name: str) -> str:
    return next(str(each["id"]) for each in fleet.world.plane.get("/services")["value"] if each["name"] == name)


@pytest.fixture(autouse=True)
def _no_faults() -> None:
    """In place of the folder's own: the faults here are what is tested."""


@pytest.fixture
async def rotations(fleet: Fleet) -> AsyncIterator[Rotations]:
    settings = fleet.settings()
    assert settings.rotation is not None
    assert settings.vault is not None
    made = Rotations(settings, settings.rotation, settings.vault, fleet.world.client())
    yield made
    made.close()


def reason(outcome: Outcome) -> str:
    """Why a service's rotation has stopped; empty where it has not."""
    if outcome.view is None:
        return outcome.problem.slug if outcome.problem else ""
    return str(outcome.view.step.reason) if isinstance(outcome.view.step, Stop) else ""


def has_come_to_rest(name: str, outcome: Outcome | None, fleet: Fleet) -> bool:
    if outcome is None:
        return False
    if name in BROKEN:
        return reason(outcome) == BROKEN[name].reason
    view = outcome.view
    return view is not None and isinstance(view.step, Nothing) and view.world.served == fleet.desired[name]


@pytest.mark.timeout(400)
async def test_two_hundred_services_rotate_and_the_broken_ones_stop(
    fleet: Fleet, rotations: Rotations, capsys: pytest.CaptureFixture[str]
) -> None:
    last: dict[str, Outcome] = {}
    ticks: list[float] = []
    begun: list[int] = []
    ends = time.monotonic() + 300

    while restless := [name for name in fleet.desired if not has_come_to_rest(name, last.get(name), fleet)]:
        assert time.monotonic() < ends, {name: (last.get(name), reason(last[name])) for name in restless[:5]}
        began = time.monotonic()
        found = await rotations.tick()
        ticks.append(time.monotonic() - began)
        begun.append(len(found))
        last.update(found)
        await asyncio.sleep(0.2)

    idle = await _idle(rotations)
    with capsys.disabled():
        print(
            f"\n{ALL} services: {len(ticks)} ticks of {', '.join(f'{each:.1f}' for each in ticks)} s, "
            f"the longest {max(ticks):.1f} s; services begun in each: {begun}; "
            f"a tick with nothing to do: {idle * 1000:.0f} ms a service"
        )
    assert max(ticks) < LONGEST_TICK
    for name, trouble in BROKEN.items():
        view, problem = last[name].view, last[name].problem
        if trouble.forbidden:
            assert problem is not None
            assert problem.members == {"secret": f"{name}-certificate"}
        else:
            assert view is not None
            assert isinstance(view.step, Stop)
            assert trouble.said in view.step.message, name
    for name in SOUND:
        view = last[name].view
        assert view is not None
        assert view.world.pins == {fleet.desired[name]}
    # Nobody was updated twice, and the broken ones' certificates are the old ones.
    updates = await asyncio.to_thread(
        _updates, fleet, ["sound-0", "sound-7", BROKEN_NOTE, STRANGER, "failing", "expired"]
    )
    assert updates == [1, 1, 1, 1, 1, 0]


def _updates(fleet: Fleet, names: list[str]) -> list[int]:
    told = (fleet.world.plane.admin(name)["operations"] for name in names)
    return [sum(each["kind"] == "Update" for each in operations) for operations in told]


async def _idle(rotations: Rotations) -> float:
    """Seconds of a tick for one service that has nothing to do; the mean of some, one after the other."""
    chosen = [f"sound-{number}" for number in range(20)]
    began = time.monotonic()
    for name in chosen:
        await rotations.tick([name])
    return (time.monotonic() - began) / len(chosen)
