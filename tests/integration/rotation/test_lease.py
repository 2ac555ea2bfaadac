"""The lease on a service: the winner of several claims, and leases in a local Key Vault."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.credentials.key_vault import KeyVault
from shared.credentials.secrets import Version
from shared.rotation import lease
from shared.rotation.lease import LeaseHeld, winner
from shared.settings import VaultSettings
from tests.support.key_vault import IDENTITY_HEADER, running_vault

NOW = 1_000.0


def claim(name: str, created: float, *, expires: float | None = NOW + 60, enabled: bool = True) -> Version:
    return Version(name, created, enabled=enabled, expires=expires)


CLAIMS: dict[str, tuple[list[Version], str | None]] = {
    "none": ([], None),
    "one": ([claim("a", 990)], "a"),
    "the earlier of two": ([claim("a", 991), claim("b", 990)], "b"),
    "the smaller identifier of the same second": ([claim("b", 990), claim("a", 990)], "a"),
    "an expired one is ignored": ([claim("a", 900, expires=NOW - 1), claim("b", 990)], "b"),
    "one that expires now is expired": ([claim("a", 900, expires=NOW)], None),
    "a released one is ignored": ([claim("a", 900, enabled=False), claim("b", 990)], "b"),
    "one without an expiry is ignored": ([claim("a", 900, expires=None)], None),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_the_winner_of_the_claims(case: str) -> None:
    claims, expected = CLAIMS[case]

    for order in (claims, claims[::-1]):
        found = winner(order, NOW)
        assert (found and found.id) == expected


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    with running_vault(tmp_path_factory.mktemp("lease")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_ENDPOINT", running.identity)
        patch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        vault = KeyVault(VaultSettings(running.address, ca_file=str(running.ca)))
        yield vault
        vault.close()


def test_a_lease_is_acquired_and_released(vault: KeyVault) -> None:
    for _ in range(2):
        with lease.acquired(vault, "acquired", 60) as acquired:
            assert acquired.until > time.time()
            with pytest.raises(LeaseHeld) as busy, lease.acquired(vault, "acquired", 60):
                pass
            assert busy.value.until == pytest.approx(acquired.until, abs=1.0)

    # The rejected runs have removed their claims.
    assert [version.enabled for version in vault.versions("acquired")] == [False, False]


def test_a_lease_is_released_after_an_error(vault: KeyVault) -> None:
    with pytest.raises(LookupError), lease.acquired(vault, "error", 60):
        raise LookupError

    with lease.acquired(vault, "error", 60):
        pass


def test_the_claim_of_a_crashed_run_is_ignored_after_its_expiry(vault: KeyVault) -> None:
    now = time.time()
    vault.write("crashed", "claim", expires=now + 60)

    with pytest.raises(LeaseHeld), lease.acquired(vault, "crashed", 60):
        pass

    with lease.acquired(vault, "crashed", 60, clock=lambda: now + 120) as acquired:
        assert acquired.until == now + 180


def test_only_one_of_several_concurrent_runs_acquires_the_lease(vault: KeyVault) -> None:
    for attempt in range(3):
        assert _race(vault, f"race-{attempt}", 4) == (1, 3)


def _race(vault: KeyVault, secret: str, runs: int) -> tuple[int, int]:
    """The numbers of concurrent runs that acquired the lease, and that were rejected."""
    start, end = threading.Barrier(runs), threading.Barrier(runs)
    outcomes: list[str] = []

    def run() -> None:
        start.wait(30)
        try:
            with lease.acquired(vault, secret, 60):
                outcomes.append("held")
                end.wait(30)  # until all others were rejected, so that none acquires the lease later
        except LeaseHeld:
            outcomes.append("busy")
            end.wait(30)

    threads = [threading.Thread(target=run) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes.count("held"), outcomes.count("busy")
