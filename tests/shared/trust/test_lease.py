"""The lease on a service: who of several claims has it, by a table; and against a real Key Vault."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.settings import VaultSettings
from shared.trust import lease
from shared.trust.lease import Busy, winner
from shared.trust.secrets import Version
from shared.trust.vault import Vault
from tests.vaults import IDENTITY_HEADER, running_vault

NOW = 1_000.0


def claim(name: str, created: float, *, expires: float | None = NOW + 60, enabled: bool = True) -> Version:
    return Version(name, created, enabled=enabled, expires=expires)


CLAIMS: dict[str, tuple[list[Version], str | None]] = {
    "none": ([], None),
    "one": ([claim("a", 990)], "a"),
    "the earlier of two": ([claim("a", 991), claim("b", 990)], "b"),
    "of the same second the smaller identifier": ([claim("b", 990), claim("a", 990)], "a"),
    "an expired one is passed over": ([claim("a", 900, expires=NOW - 1), claim("b", 990)], "b"),
    "one that expires now is over": ([claim("a", 900, expires=NOW)], None),
    "one that was given back is passed over": ([claim("a", 900, enabled=False), claim("b", 990)], "b"),
    "one without an end is no claim": ([claim("a", 900, expires=None)], None),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_who_has_the_lease(case: str) -> None:
    claims, expected = CLAIMS[case]

    for order in (claims, claims[::-1]):
        found = winner(order, NOW)
        assert (found and found.id) == expected


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_vault(tmp_path_factory.mktemp("lease")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_ENDPOINT", running.identity)
        patch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        made = Vault(VaultSettings(running.address, ca_file=str(running.ca)))
        yield made
        made.close()


def test_a_lease_is_held_and_given_back(vault: Vault) -> None:
    for _ in range(2):
        with lease.held(vault, "back", 60) as held:
            assert held.until > time.time()
            with pytest.raises(Busy) as busy, lease.held(vault, "back", 60):
                pass
            assert busy.value.until == pytest.approx(held.until, abs=1.0)

    # Whoever came too late has left no claim behind.
    assert [version.enabled for version in vault.versions("back")] == [False, False]


def test_it_is_given_back_after_an_error(vault: Vault) -> None:
    with pytest.raises(LookupError), lease.held(vault, "error", 60):
        raise LookupError

    with lease.held(vault, "error", 60):
        pass


def test_the_claim_of_a_run_that_died_is_passed_over_once_it_has_expired(vault: Vault) -> None:
    now = time.time()
    vault.write("died", "claim", expires=now + 60)

    with pytest.raises(Busy), lease.held(vault, "died", 60):
        pass

    with lease.held(vault, "died", 60, clock=lambda: now + 120) as held:
        assert held.until == now + 180


def test_of_many_at_once_one_at_most_holds_it(vault: Vault) -> None:
    for attempt in range(3):
        assert _race(vault, f"race-{attempt}", 4) == (1, 3)


def _race(vault: Vault, secret: str, runs: int) -> tuple[int, int]:
    """How many held the lease, and how many were refused; all of them try at the same moment."""
    start, over = threading.Barrier(runs), threading.Barrier(runs)
    outcomes: list[str] = []

    def run() -> None:
        start.wait(30)
        try:
            with lease.held(vault, secret, 60):
                outcomes.append("held")
                over.wait(30)  # until all others were refused: nobody may hold it after the first one
        except Busy:
            outcomes.append("busy")
            over.wait(30)

    threads = [threading.Thread(target=run) for _ in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes.count("held"), outcomes.count("busy")
