"""The snapshot of credentials: shared reads, background refreshes, and use of stale snapshots during failures."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from devstack.authority import Authority
from shared.credentials.cache import (
    MAX_INTERVAL,
    MIN_INTERVAL,
    OVERDUE,
    CredentialCache,
    CredentialReader,
    Credentials,
    Plan,
    plan,
)
from shared.credentials.pins import Pins
from shared.credentials.secrets import Secret
from shared.errors import InvalidKey, InvalidPin, SecretDisabled, SecretMissing, VaultThrottled, VaultUnreachable
from shared.settings import ServiceSettings

SERVICE = ServiceSettings("cats", "x", primary_key_secret="one", secondary_key_secret="two", pins_secret="pins")
PINS = Authority.create().pem.decode()


class FakeVault:
    """A fake clock, and a vault that can be unavailable (``down``), delayed (``gate``) or unchanged (``same``)."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reads = 0
        self.down = False
        self.same = False
        self.gate: asyncio.Event | None = None
        self.cache = CredentialCache(self.read, refresh_seconds=60, clock=lambda: self.now)

    async def read(self) -> Credentials:
        self.reads += 1
        number, started = self.reads, self.now
        if self.gate:
            await self.gate.wait()
        if self.down:
            raise VaultUnreachable("Key Vault does not respond.")
        return Credentials((f"key-{1 if self.same else number}",), Pins(b"", ()), started)

    async def current(self) -> str:
        """The key that a request uses; afterwards, started background tasks are run."""
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
        (29, 9, 11, None, Plan.WAIT),
        (29, 9, 11, 28, Plan.USE_AND_REFRESH),
        (99, 9, 11, 12, Plan.WAIT),
    ],
    ids=[
        *("empty", "just failed", "failed a while ago", "fresh", "due", "stale, pausing"),
        *("overdue", "overdue, just failed", "overdue, failed long ago"),
    ],
)
def test_the_plan_depends_on_the_age_of_the_snapshot_and_of_the_last_failure(
    now: float, read_at: float | None, refresh_at: float, failed_at: float | None, expected: Plan
) -> None:
    assert plan(now=now, read_at=read_at, refresh_at=refresh_at, failed_at=failed_at, overdue=20) is expected


async def test_the_first_requests_share_one_read() -> None:
    vault = FakeVault()

    keys = await asyncio.gather(*(vault.cache.current() for _ in range(20)))

    assert {key.keys[0] for key in keys} == {"key-1"}
    assert vault.reads == 1


async def test_an_overdue_snapshot_is_read_again_before_it_is_used() -> None:
    vault = FakeVault()
    await vault.current()
    vault.now += OVERDUE * 60

    keys = await asyncio.gather(*(vault.cache.current() for _ in range(20)))

    assert {key.keys[0] for key in keys} == {"key-2"}


@pytest.mark.parametrize("trouble", ["down", "hanging"])
async def test_an_overdue_snapshot_is_used_while_key_vault_does_not_respond(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.credentials.cache.OVERDUE_WAIT", 0.01)
    vault = FakeVault()
    await vault.current()
    vault.now += OVERDUE * 60
    vault.down, vault.gate = trouble == "down", asyncio.Event() if trouble == "hanging" else None

    assert [await vault.current() for _ in range(5)] == ["key-1"] * 5
    assert vault.reads == 2


async def test_a_due_snapshot_is_refreshed_in_the_background() -> None:
    vault = FakeVault()
    await vault.current()
    assert repr(vault.cache) == "<CredentialCache fresh>"

    vault.now += 60
    assert repr(vault.cache) == "<CredentialCache due>"
    vault.gate = asyncio.Event()
    assert [await vault.current() for _ in range(5)] == ["key-1"] * 5
    assert vault.reads == 2
    vault.gate.set()
    await vault.current()

    assert await vault.current() == "key-2"
    assert repr(vault.cache) == "<CredentialCache fresh>"


async def test_the_time_of_a_refresh_has_jitter() -> None:
    at = set()
    for _ in range(20):
        vault = FakeVault()
        await vault.current()
        start = vault.now
        while vault.reads == 1:
            vault.now += 0.5
            await vault.current()
        at.add(vault.now - start)

    assert len(at) > 3
    assert 48 <= min(at) <= max(at) <= 60.5


async def test_an_unavailable_vault_is_read_with_backoff_and_the_stale_snapshot_is_used() -> None:
    vault = FakeVault()
    await vault.current()
    vault.down = True
    vault.now += 60
    start = vault.now
    read_times = []
    while vault.now < start + 300:
        before = vault.reads
        assert await vault.current() == "key-1"
        if vault.reads > before:
            read_times.append(vault.now - start)
        vault.now += 1

    assert read_times[:6] == [0, 2, 6, 14, 30, 62]
    assert repr(vault.cache) == "<CredentialCache stale>"
    assert vault.cache.age == 360
    assert isinstance(vault.cache.problem, VaultUnreachable)

    vault.down = False
    vault.now += 60
    await vault.current()
    assert await vault.current() != "key-1"
    assert vault.cache.problem is None


async def test_without_a_snapshot_the_error_is_raised_and_reads_are_rate_limited() -> None:
    vault = FakeVault()
    vault.down = True
    for _ in range(10):
        with pytest.raises(VaultUnreachable):
            await vault.cache.current()
    assert vault.reads == 1

    vault.down = False
    vault.now += MIN_INTERVAL
    assert await vault.current() == "key-2"


async def test_a_newer_snapshot_is_read_at_once_and_shared() -> None:
    vault = FakeVault()
    used = await vault.cache.current()
    vault.now += MIN_INTERVAL

    fresh = await asyncio.gather(*(vault.cache.newer_than(used) for _ in range(10)))

    assert {credentials.keys[0] for credentials in fresh} == {"key-2"}
    assert vault.reads == 2
    # A later caller with the old snapshot gets the newer one without a read.
    assert (await vault.cache.newer_than(used)).keys[0] == "key-2"
    assert vault.reads == 2


async def test_forced_reads_are_rate_limited() -> None:
    vault = FakeVault()
    used = await vault.cache.current()

    assert await vault.cache.newer_than(used) is used
    assert vault.reads == 1

    vault.now += MIN_INTERVAL
    vault.down = True
    assert await vault.cache.newer_than(used) is used
    assert await vault.cache.newer_than(used) is used
    assert vault.reads == 2


@pytest.mark.parametrize("condition", ["same", "down"])
async def test_forced_reads_without_a_change_back_off_until_one_succeeds(condition: str) -> None:
    vault = FakeVault()
    used = await vault.cache.current()
    setattr(vault, condition, True)
    times: list[float] = []
    for _ in range(600):
        vault.now += 0.1
        before = vault.reads
        used = await vault.cache.newer_than(used)
        if vault.reads > before:
            times.append(vault.now)
    pauses = [round(later - earlier) for earlier, later in pairwise(times)]
    assert pauses[:8] == [1, 1, 1, 2, 4, 8, 10, 10]

    setattr(vault, condition, False)
    for pause in (MAX_INTERVAL, MIN_INTERVAL):
        vault.now += pause
        before = vault.reads
        used = await vault.cache.newer_than(used)
        assert vault.reads == before + 1


async def test_a_cancelled_caller_does_not_cancel_the_shared_read() -> None:
    vault = FakeVault()
    vault.gate = asyncio.Event()
    cancelled, other = (asyncio.create_task(vault.cache.current()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    cancelled.cancel()
    vault.gate.set()

    assert (await other).keys[0] == "key-1"
    assert vault.reads == 1


async def test_the_exception_of_a_failed_background_read_is_retrieved() -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    vault = FakeVault()
    await vault.current()
    vault.down = True
    vault.now += 60
    await vault.current()
    assert vault.reads == 2
    gc.collect()  # the loop reports a task's exception that was never retrieved

    assert reported == []


async def read(**secrets: str | Exception) -> Credentials:
    """The credentials of these secrets; a value was stored at the second that is the number of its apostrophes."""

    def read_secret(name: str) -> Secret:
        value = secrets.get(name, SecretMissing(f"Key Vault has no secret {name!r}."))
        if isinstance(value, Exception):
            raise value
        return Secret(value, "version", float(value.count("'")))

    with ThreadPoolExecutor(3) as executor:
        return await CredentialReader(SERVICE, read_secret, executor, clock=lambda: 7.0)()


async def test_keys_and_pins_are_read_from_the_configured_secrets() -> None:
    credentials = await read(one="k1", two="k2", pins=PINS)

    assert credentials.keys == ("k1", "k2")
    assert credentials.read_at == 7.0
    assert len(credentials.pins.fingerprints) == 1
    assert "k1" not in repr(credentials)


async def test_the_key_that_was_stored_last_is_used_first() -> None:
    assert (await read(one="k1", two="k2'", pins=PINS)).keys == ("k2'", "k1")


@pytest.mark.parametrize("stored", ["k1\n", " k1\r\n", "\ufeffk1", "\tk1\t"])
async def test_white_space_around_a_key_is_not_part_of_it(stored: str) -> None:
    assert (await read(one=stored, two="k2", pins=PINS)).keys == ("k1", "k2")


UNUSABLE = ["k\t1", "k\x001", "k\ufeff1", "clé", "k\n1", "\x00k1", " \n"]


@pytest.mark.parametrize("stored", UNUSABLE)
async def test_of_two_keys_the_one_that_can_be_sent_is_used(stored: str, caplog: pytest.LogCaptureFixture) -> None:
    assert (await read(one=stored, two="k2", pins=PINS)).keys == ("k2",)
    assert (await read(one="k1", two=stored, pins=PINS)).keys == ("k1",)

    assert "The key in secret 'one'" in caplog.text
    assert "The key in secret 'two'" in caplog.text
    assert stored not in caplog.text or not stored.strip()


@pytest.mark.parametrize("stored", UNUSABLE)
async def test_without_a_key_that_can_be_sent_its_secret_is_named(stored: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        await read(one=stored, two=stored, pins=PINS)

    assert caught.value.members == {"secret": "one"}
    assert stored.strip() not in caught.value.detail or not stored.strip()


@pytest.mark.parametrize("error", [SecretMissing("x"), SecretDisabled("x")])
async def test_the_secondary_key_is_optional(error: Exception) -> None:
    assert (await read(one="k1", two=error, pins=PINS)).keys == ("k1",)


@pytest.mark.parametrize(
    ("secrets", "kind"),
    [
        ({"two": "k2", "pins": PINS}, SecretMissing),
        ({"one": "k1", "two": "k2"}, SecretMissing),
        ({"one": "k1", "two": VaultThrottled("x"), "pins": PINS}, VaultThrottled),
        ({"one": "k1", "pins": "nonsense"}, InvalidPin),
        ({"one": VaultThrottled("x"), "two": SecretMissing("x"), "pins": "nonsense"}, VaultThrottled),
        ({"one": SecretMissing("x"), "two": VaultThrottled("x"), "pins": "nonsense"}, SecretMissing),
    ],
)
async def test_the_error_of_a_required_secret_is_raised(
    secrets: dict[str, str | Exception], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await read(**secrets)
