"""Leases in a local Key Vault, of several processes at once. tests/unit has their rules on a clock of its own."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.credentials.key_vault import KeyVault
from shared.rotation.lease import LeaseHeld, Leases
from shared.settings import VaultSettings
from tests.support.key_vault import IDENTITY_HEADER, running_vault


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    with running_vault(tmp_path_factory.mktemp("lease")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_ENDPOINT", running.identity)
        patch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        vault = KeyVault(VaultSettings(running.address, ca_file=str(running.ca)))
        yield vault
        vault.close()


def test_a_lease_is_acquired_and_released(vault: KeyVault) -> None:
    leases, other = Leases(vault), Leases(vault)
    for _ in range(2):
        with leases.acquired("acquired", 60) as acquired:
            acquired.check()
            with pytest.raises(LeaseHeld) as busy, other.acquired("acquired", 60):
                pass
            assert 50 < busy.value.seconds <= 61

    # One version, which is used again.
    assert [version.enabled for version in vault.versions("acquired")] == [False]


def test_a_lease_is_released_after_an_error(vault: KeyVault) -> None:
    with pytest.raises(LookupError), Leases(vault).acquired("error", 60):
        raise LookupError

    with Leases(vault).acquired("error", 60):
        pass


def test_the_claim_of_a_crashed_run_is_ignored_after_its_expiry(vault: KeyVault) -> None:
    vault.write("crashed", "claim", expires=time.time() + 3)

    with pytest.raises(LeaseHeld), Leases(vault).acquired("crashed", 60):
        pass

    time.sleep(4)
    with Leases(vault).acquired("crashed", 60):
        pass


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
            with Leases(vault).acquired(secret, 60):
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
