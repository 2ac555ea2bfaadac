"""The lease on a clock that the test owns: claims that race, a vault that lists late or slowly, wrong clocks."""

from collections.abc import Callable

import pytest

from shared.credentials.secrets import Version
from shared.errors import SecretMissing, VaultUnreachable
from shared.rotation.clock import SteadyClock
from shared.rotation.lease import Lease, LeaseHeld, Leases, winner

START, HOUR, LENGTH = 1_000_000.0, 3600.0, 60.0


class Vault:
    """Key Vault's versions of secrets on a clock: times in whole seconds, lists that lag ``lag`` seconds."""

    def __init__(self) -> None:
        self.now = START + 0.2
        self.lag = 0.0
        self.slow = 0.0
        self.ids: list[str] = []
        self._history: list[tuple[float, str, Version]] = []

    def write(self, name: str, _value: str, *, expires: float) -> Version:
        self.now += self.slow
        created = float(int(self.now))
        made = Version(self.ids.pop(0) if self.ids else f"v{len(self._history)}", created, True, expires, created)
        self._history.append((self.now, name, made))
        return made

    def renew(self, name: str, version: str, *, enabled: bool, expires: float | None = None) -> Version:
        self.now += self.slow
        old = self._latest(name, self.now).get(version)
        if old is None:
            raise SecretMissing("no such version")
        made = old._replace(enabled=enabled, expires=expires or old.expires, updated=float(int(self.now)))
        self._history.append((self.now, name, made))
        return made

    def versions(self, name: str) -> list[Version]:
        self.now += self.slow
        return list(self._latest(name, self.now - self.lag).values())

    def forget(self) -> None:
        self._history.clear()

    def _latest(self, name: str, until: float) -> dict[str, Version]:
        return {version.id: version for at, secret, version in self._history if at <= until and secret == name}

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def vault() -> Vault:
    return Vault()


def process(vault: Vault, *, clock_error: float = 0.0, sleep: Callable[[float], None] | None = None) -> Leases:
    """The leases of a process whose wall clock is wrong by some seconds."""
    return Leases(
        vault,  # type: ignore[arg-type]
        wall=lambda: vault.now + clock_error,
        monotonic=lambda: vault.now - START + 77,
        sleep=sleep or vault.sleep,
    )


def outcome(leases: Leases) -> str:
    try:
        with leases.acquired("lease", LENGTH):
            return "acts"
    except LeaseHeld:
        return "loses"


def test_one_acts_and_the_next_one_after_it(vault: Vault) -> None:
    first, second = process(vault), process(vault)

    with first.acquired("lease", LENGTH) as lease:
        lease.check()
        assert outcome(second) == "loses"
        lease.check()
    assert outcome(second) == "acts"


def test_a_claim_of_the_same_second_with_a_smaller_id_that_arrives_after_the_first_list_wins(vault: Vault) -> None:
    vault.ids = ["zz", "aa"]
    later: list[Lease] = []

    def meanwhile(seconds: float) -> None:
        if not later:
            vault.now += 0.5
            later.append(process(vault)._claim("lease", LENGTH))  # in the second of the first claim
        vault.now += seconds

    assert outcome(process(vault, sleep=meanwhile)) == "loses"
    assert later[0].is_first()


@pytest.mark.parametrize("lag", [0.4, 3.0, 10.0])
@pytest.mark.parametrize("slow", [0.0, 2.5])
def test_a_vault_that_lists_late_or_is_slow_lets_one_act(vault: Vault, lag: float, slow: float) -> None:
    vault.lag, vault.slow = lag, slow
    first = process(vault)
    with first.acquired("lease", LENGTH * 10):
        assert outcome(process(vault)) == "loses"
        vault.now -= lag  # right after the claim, when nothing is listed yet
        assert outcome(process(vault)) == "loses"


def test_a_claim_that_is_not_listed_is_not_won(vault: Vault) -> None:
    vault.lag = 1000.0

    with pytest.raises(VaultUnreachable, match="does not list the claim"), process(vault).acquired("lease", LENGTH):
        pass


@pytest.mark.parametrize("error", [-HOUR, -30.0, 30.0, HOUR])
def test_a_wrong_wall_clock_neither_revives_nor_ends_a_claim(vault: Vault, error: float) -> None:
    wrong, right = process(vault, clock_error=error), process(vault)

    with wrong.acquired("lease", LENGTH) as lease:
        vault.now += 20
        assert outcome(right) == "loses"
        lease.check()
    with right.acquired("lease", LENGTH) as lease:
        vault.now += 20
        assert outcome(process(vault, clock_error=error)) == "loses"
        assert outcome(wrong) == "loses"
        lease.check()
    assert outcome(wrong) == "acts"


def test_the_claim_of_a_dead_run_expires_also_on_a_clock_that_is_behind(vault: Vault) -> None:
    process(vault, clock_error=-HOUR)._claim("lease", LENGTH)

    assert outcome(process(vault, clock_error=-HOUR)) == "loses"
    vault.now += LENGTH + 2
    assert outcome(process(vault, clock_error=-HOUR)) == "acts"


def test_no_write_is_started_after_another_may_act(vault: Vault) -> None:
    with process(vault).acquired("lease", LENGTH) as lease:
        vault.now += LENGTH - 15
        lease.check()
        vault.now += 6
        with pytest.raises(LeaseHeld):
            lease.check()
    with process(vault).acquired("lease", LENGTH) as lease:
        vault.renew("lease", lease.claim.id, enabled=False)  # by a person
        with pytest.raises(LeaseHeld):
            lease.check()


def test_a_process_claims_with_one_version(vault: Vault) -> None:
    leases, other = process(vault), process(vault)

    for _ in range(50):
        assert outcome(leases) == "acts"
        with leases.acquired("lease", LENGTH):
            assert outcome(other) == "loses"
    assert len(vault.versions("lease")) == 1, "the one that was late left none behind"
    vault.forget()
    assert outcome(leases) == "acts", "with a new version, where somebody deleted its own"


def test_runs_of_one_process_exclude_each_other(vault: Vault) -> None:
    leases = process(vault)

    with leases.acquired("lease", LENGTH):
        assert outcome(leases) == "loses"
        with leases.acquired("another", LENGTH):
            pass
    assert outcome(leases) == "acts"


NOW = 1_000.0


def claim(name: str, updated: float, *, expires: float | None = NOW + 60, enabled: bool = True) -> Version:
    return Version(name, 1.0, enabled=enabled, expires=expires, updated=updated)


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


def test_the_time_never_goes_back_and_catches_up() -> None:
    wall, passed = 5000.0, 10.0
    clock = SteadyClock(lambda: wall, lambda: passed)

    assert clock() == 5000
    wall, passed = 5000 - HOUR, 11.0
    assert clock() == 5001, "set back an hour"
    wall, passed = 9000.0, 12.0
    assert clock() == 9000, "the machine slept"
    wall, passed = 5000.0, 13.0
    assert clock() == 9001
