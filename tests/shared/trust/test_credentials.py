"""The snapshot of credentials: read once, renewed behind the requests, kept while the vault is away."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from devstack.authority import Authority
from shared.errors import InvalidPin, SecretDisabled, SecretMissing, VaultThrottled, VaultUnreachable
from shared.settings import ServiceSettings
from shared.trust.certificates import Pins
from shared.trust.credentials import (
    MAX_INTERVAL,
    MIN_INTERVAL,
    CredentialCache,
    CredentialReader,
    Credentials,
    Plan,
    plan,
)
from shared.trust.secrets import Secret

SERVICE = ServiceSettings("cats", "x", primary_key_secret="one", secondary_key_secret="two", pins_secret="pins")
PINS = Authority.create().pem.decode()


class World:
    """A clock that stands still unless it is told to go, and a vault that can be taken away."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reads = 0
        self.away = False
        self.same = False
        self.gate: asyncio.Event | None = None
        self.cache = CredentialCache(self.read, refresh_seconds=60, clock=lambda: self.now)

    async def read(self) -> Credentials:
        self.reads += 1
        number, started = self.reads, self.now
        if self.gate:
            await self.gate.wait()
        if self.away:
            raise VaultUnreachable("Key Vault gave no answer.")
        return Credentials((f"key-{1 if self.same else number}",), Pins(b"", ()), started)

    async def current(self) -> str:
        """The key that a request would use, after what it started has gone on."""
        key = (await self.cache.current()).keys[0]
        for _ in range(3):
            await asyncio.sleep(0)
        return key


@pytest.mark.parametrize(
    ("now", "read_at", "refresh_at", "failed_at", "expected"),
    [
        (10, None, 0, None, Plan.WAIT),
        (10, None, 0, 9.5, Plan.FAIL),
        (10, None, 0, 10 - MIN_INTERVAL, Plan.WAIT),
        (10, 9, 11, None, Plan.USE),
        (11, 9, 11, None, Plan.USE_AND_REFRESH),
        (10, 9, 11, 9.9, Plan.USE),
    ],
    ids=["empty", "just failed", "failed a while ago", "fresh", "due", "stale, pausing"],
)
def test_plan(now: float, read_at: float | None, refresh_at: float, failed_at: float | None, expected: Plan) -> None:
    assert plan(now=now, read_at=read_at, refresh_at=refresh_at, failed_at=failed_at) is expected


async def test_the_first_requests_share_one_read() -> None:
    world = World()

    keys = await asyncio.gather(*(world.cache.current() for _ in range(20)))

    assert {key.keys[0] for key in keys} == {"key-1"}
    assert world.reads == 1


async def test_a_due_snapshot_is_renewed_without_anybody_waiting() -> None:
    world = World()
    await world.current()
    assert repr(world.cache) == "<CredentialCache fresh>"

    world.now += 60
    assert repr(world.cache) == "<CredentialCache due>"
    world.gate = asyncio.Event()
    assert [await world.current() for _ in range(5)] == ["key-1"] * 5
    assert world.reads == 2
    world.gate.set()
    await world.current()

    assert await world.current() == "key-2"
    assert repr(world.cache) == "<CredentialCache fresh>"


async def test_the_renewal_comes_somewhat_early_and_not_at_the_same_time_everywhere() -> None:
    at = set()
    for _ in range(20):
        world = World()
        await world.current()
        start = world.now
        while world.reads == 1:
            world.now += 0.5
            await world.current()
        at.add(world.now - start)

    assert len(at) > 3
    assert 48 <= min(at) <= max(at) <= 60.5


async def test_a_vault_that_is_away_is_asked_less_and_less_and_the_snapshot_serves_on() -> None:
    world = World()
    await world.current()
    world.away = True
    world.now += 60
    start = world.now
    asked = []
    while world.now < start + 300:
        before = world.reads
        assert await world.current() == "key-1"
        if world.reads > before:
            asked.append(world.now - start)
        world.now += 1

    assert asked[:6] == [0, 2, 6, 14, 30, 62]
    assert repr(world.cache) == "<CredentialCache stale>"
    assert world.cache.age == 360
    assert isinstance(world.cache.problem, VaultUnreachable)

    world.away = False
    world.now += 60
    await world.current()
    assert await world.current() != "key-1"
    assert world.cache.problem is None


async def test_without_a_snapshot_the_cause_is_told_and_the_vault_is_not_stormed() -> None:
    world = World()
    world.away = True
    for _ in range(10):
        with pytest.raises(VaultUnreachable):
            await world.cache.current()
    assert world.reads == 1

    world.away = False
    world.now += MIN_INTERVAL
    assert await world.current() == "key-2"


async def test_a_refused_key_gets_a_newer_snapshot_at_once() -> None:
    world = World()
    used = await world.cache.current()
    world.now += MIN_INTERVAL

    fresh = await asyncio.gather(*(world.cache.newer_than(used) for _ in range(10)))

    assert {credentials.keys[0] for credentials in fresh} == {"key-2"}
    assert world.reads == 2
    # Who used the old one and comes late finds the newer one there already.
    assert (await world.cache.newer_than(used)).keys[0] == "key-2"
    assert world.reads == 2


async def test_forced_reads_are_rate_limited() -> None:
    world = World()
    used = await world.cache.current()

    assert await world.cache.newer_than(used) is used
    assert world.reads == 1

    world.now += MIN_INTERVAL
    world.away = True
    assert await world.cache.newer_than(used) is used
    assert await world.cache.newer_than(used) is used
    assert world.reads == 2


@pytest.mark.parametrize("trouble", ["same", "away"])
async def test_forced_reads_that_bring_nothing_become_seldom_until_one_does(trouble: str) -> None:
    world = World()
    used = await world.cache.current()
    setattr(world, trouble, True)
    times: list[float] = []
    for _ in range(600):
        world.now += 0.1
        before = world.reads
        used = await world.cache.newer_than(used)
        if world.reads > before:
            times.append(world.now)
    pauses = [round(later - earlier) for earlier, later in pairwise(times)]
    assert pauses[:8] == [1, 1, 1, 2, 4, 8, 10, 10]

    setattr(world, trouble, False)
    for pause in (MAX_INTERVAL, MIN_INTERVAL):
        world.now += pause
        before = world.reads
        used = await world.cache.newer_than(used)
        assert world.reads == before + 1


async def test_a_caller_who_gives_up_does_not_take_the_read_away_from_the_others() -> None:
    world = World()
    world.gate = asyncio.Event()
    impatient, patient = (asyncio.create_task(world.cache.current()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    impatient.cancel()
    world.gate.set()

    assert (await patient).keys[0] == "key-1"
    assert world.reads == 1


async def test_a_failed_read_that_nobody_waits_for_leaves_no_complaint() -> None:
    world = World()
    await world.current()
    world.away = True
    world.now += 60
    await world.current()
    gc.collect()  # a task's exception that was never looked at would be reported here, which is an error in tests


def reader(secrets: dict[str, str | Exception], executor: ThreadPoolExecutor) -> Callable[[], CredentialReader]:
    """A reader of these secrets; each apostrophe in a value makes it a second younger."""

    def read(name: str) -> Secret:
        value = secrets.get(name, SecretMissing(f"Key Vault holds no secret {name!r}."))
        if isinstance(value, Exception):
            raise value
        return Secret(value, "version", float(value.count("'")))

    return lambda: CredentialReader(SERVICE, read, executor, clock=lambda: 7.0)


async def test_keys_and_pins_are_read_by_the_names_in_the_settings() -> None:
    with ThreadPoolExecutor(3) as executor:
        credentials = await reader({"one": "k1", "two": "k2", "pins": PINS}, executor)()()

    assert credentials.keys == ("k1", "k2")
    assert credentials.read_at == 7.0
    assert len(credentials.pins.fingerprints) == 1
    assert "k1" not in repr(credentials)


async def test_the_key_that_was_stored_last_is_used_first() -> None:
    with ThreadPoolExecutor(3) as executor:
        credentials = await reader({"one": "k1", "two": "k2'", "pins": PINS}, executor)()()

    assert credentials.keys == ("k2'", "k1")


@pytest.mark.parametrize("error", [SecretMissing("x"), SecretDisabled("x")])
async def test_a_service_can_do_without_a_secondary_key(error: Exception) -> None:
    with ThreadPoolExecutor(3) as executor:
        credentials = await reader({"one": "k1", "two": error, "pins": PINS}, executor)()()

    assert credentials.keys == ("k1",)


@pytest.mark.parametrize(
    ("secrets", "kind"),
    [
        ({"two": "k2", "pins": PINS}, SecretMissing),
        ({"one": "k1", "two": "k2"}, SecretMissing),
        ({"one": "k1", "two": VaultThrottled("x"), "pins": PINS}, VaultThrottled),
        ({"one": "k1", "pins": "nonsense"}, InvalidPin),
    ],
)
async def test_what_is_needed_and_cannot_be_read_is_the_error(
    secrets: dict[str, str | Exception], kind: type[Exception]
) -> None:
    with ThreadPoolExecutor(3) as executor, pytest.raises(kind):
        await reader(secrets, executor)()()
