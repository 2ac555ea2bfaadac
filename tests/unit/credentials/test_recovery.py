"""Reads that fail or hang: what is recorded, and when the next read starts, on the test's own clock."""

import asyncio
import json
import threading
from itertools import pairwise

import pytest

from shared import errors
from shared.credentials.cache import AWAY, READ_SECONDS, THROTTLED, CredentialCache, CredentialReader, Credentials
from shared.credentials.pins import Pins
from shared.credentials.secrets import Secret
from shared.errors import GatewayError
from shared.settings import ServiceSettings
from shared.threads import DaemonExecutor
from tests.support.clock import Clock

UNREACHABLE = errors.VaultUnreachable("Key Vault did not respond.")


class Vault:
    """A vault whose reads raise ``trouble`` while there is some; ``times`` are those of its reads."""

    def __init__(self, clock: Clock, trouble: Exception | None = None) -> None:
        self.clock = clock
        self.trouble = trouble
        self.times: list[float] = []
        self.cache = CredentialCache(self.read, refresh_seconds=60, clock=clock.monotonic)

    async def read(self) -> Credentials:
        self.times.append(self.clock.now)
        if self.trouble is not None:
            raise self.trouble
        return Credentials(("key",), Pins(b"", ()), self.clock.now)

    async def fail_first(self) -> None:
        with pytest.raises(GatewayError):
            await self.cache.current()

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times)]


@pytest.mark.parametrize("trouble", [UNREACHABLE, errors.IdentityUnavailable("No token.")])
async def test_a_worker_that_starts_while_key_vault_is_away_recovers_within_two_seconds_of_its_return(
    clock: Clock, trouble: GatewayError
) -> None:
    for _ in range(20):
        vault = Vault(clock, trouble)
        await vault.fail_first()
        await asyncio.sleep(30)
        vault.trouble = None
        await asyncio.sleep(AWAY)

        assert repr(vault.cache) == "<CredentialCache fresh>"
        assert vault.cache.latest() is not None
        assert all(AWAY / 2 <= pause <= AWAY for pause in vault.pauses)
        assert 30 <= len(vault.times) <= 62

        reads = len(vault.times)
        await asyncio.sleep(3600)
        assert len(vault.times) == reads  # without requests nothing is read


async def test_the_reads_of_workers_that_wait_for_key_vault_are_spread_out(clock: Clock) -> None:
    waiting = [Vault(clock, UNREACHABLE) for _ in range(50)]
    for vault in waiting:
        await vault.fail_first()
    await asyncio.sleep(20)

    last = sorted(vault.times[-1] for vault in waiting)

    assert max(later - earlier for earlier, later in pairwise(last)) < AWAY / 5
    for vault in waiting:
        vault.cache.close()


async def test_a_throttled_vault_is_left_alone_for_most_of_its_window(clock: Clock) -> None:
    vault = Vault(clock, errors.VaultThrottled("Too many requests.", retry_after=1))
    await vault.fail_first()
    await asyncio.sleep(600)

    assert 60 <= len(vault.times) <= 121
    assert all(THROTTLED / 2 <= pause <= THROTTLED for pause in vault.pauses)
    assert THROTTLED == 10  # the seconds of Key Vault's own window
    vault.cache.close()


async def test_what_a_person_must_repair_is_read_less_and_less_often(clock: Clock) -> None:
    vault = Vault(clock, errors.SecretMissing("Key Vault has no secret 'pins'.", secret="pins"))
    await vault.fail_first()
    await asyncio.sleep(600)

    for pause, longest in zip(vault.pauses, [2, 4, 8, 16, 32, 60, 60, 60], strict=False):
        assert longest / 2 <= pause <= longest
    assert len(vault.times) <= 25
    vault.cache.close()


async def test_a_closed_cache_reads_no_more(clock: Clock) -> None:
    vault = Vault(clock, UNREACHABLE)
    await vault.fail_first()

    vault.cache.close()
    await asyncio.sleep(60)

    assert len(vault.times) == 1


FAULTS = [json.JSONDecodeError("Expecting value", "<html>", 0), ValueError("x"), RuntimeError("x"), KeyError("x")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_any_exception_of_a_refresh_is_a_failure_with_its_cause_its_pause_and_its_line(
    clock: Clock, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    vault = Vault(clock)
    await vault.cache.current()
    vault.trouble = fault
    await asyncio.sleep(60)
    for _ in range(150):
        assert (await vault.cache.current()).keys == ("key",)
        await asyncio.sleep(0.1)

    assert [round(pause) for pause in vault.pauses] == [60, 2, 4, 8]
    assert repr(vault.cache) == "<CredentialCache stale>"
    assert vault.cache.problem is not None
    assert type(fault).__name__ in vault.cache.problem.detail
    assert vault.cache.problem.retry_after == 1
    lines = [line for line in caplog.messages if "the last snapshot stays in use" in line]
    assert len(lines) == 4
    assert all("internal-error" in line for line in lines)


async def test_secrets_that_hang_fail_after_the_time_of_a_read(clock: Clock) -> None:
    released, executor = threading.Event(), DaemonExecutor(3, "vault")

    def hang(_name: str) -> Secret:
        released.wait(60)
        return Secret("value", "version", 0.0)

    service = ServiceSettings("cats", "x", primary_key_secret="one", secondary_key_secret="two", pins_secret="pins")
    cache = CredentialCache(CredentialReader(service, hang, executor), refresh_seconds=60, clock=clock.monotonic)
    start = clock.now
    try:
        with pytest.raises(errors.VaultUnreachable, match=f"did not respond within {READ_SECONDS:g} s"):
            await cache.current()

        assert clock.now - start == pytest.approx(READ_SECONDS)
        assert cache.problem is not None
    finally:
        released.set()
        cache.close()
        executor.shutdown()
