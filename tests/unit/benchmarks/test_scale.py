"""The simulations agree with theory, with each other and with the gateway's code; the same seed, the same figures."""

import re

import numpy as np
import pytest

from benchmarks.harness.paths import ROOT
from benchmarks.scale import pins, vault
from benchmarks.scale.balancing import Fleet, Policy, nodes
from benchmarks.scale.balancing import simulate as balance
from benchmarks.scale.figures.pins import MORE
from benchmarks.scale.limiters import MOST, Aimd, Limiter, Own, own_clock
from benchmarks.scale.overload import Call, Node, Overload
from benchmarks.scale.overload import simulate as overload
from benchmarks.scale.pages import filled
from benchmarks.scale.queues import SERVICE, Floats, mean_wait_md1, poisson, waits
from benchmarks.scale.subsets import chosen_at_random, deterministic, reconnections, shares
from shared.credentials.cache import CredentialCache, Credentials
from shared.credentials.pins import Pins
from shared.rotation import observe as observer

IN_TIME = Call(at=0.0, latency=0.0, worker=0, in_time=True, images=1, last=True)
RENEWING, COLD = vault.Kind.RENEWING, vault.Kind.COLD


@pytest.mark.parametrize("use", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_the_pollaczek_khinchine_formula(use: float) -> None:
    arrivals = poisson(use / SERVICE, 1_000_000, np.random.default_rng(1))

    assert waits(arrivals, SERVICE).mean() == pytest.approx(mean_wait_md1(use), rel=0.03)


def test_vectorized_waits_equal_those_of_a_node_that_serves_one_call_after_the_other() -> None:
    arrivals = poisson(0.9 / SERVICE, 2_000, np.random.default_rng(1))
    node = Node(SERVICE, lambda _: 1.0, drops_expired=False)

    served = np.array([node.serve(now, np.inf) for now in arrivals])

    assert waits(arrivals, SERVICE) == pytest.approx(served - arrivals - SERVICE, abs=1e-9)


def test_a_node_spends_no_time_on_dropped_calls() -> None:
    node = Node(1.0, lambda _: 1.0, drops_expired=True)

    assert [node.serve(0.0, gone_at) for gone_at in (1.5, 1.5, 1.5, 9.0)] == [1.0, 2.0, np.inf, 3.0]


def test_round_robin_of_one_worker_equals_a_single_queue() -> None:
    fleet = Fleet(0.8, 1, nodes(20), requests=20_000)

    # The same, but for the first node.
    in_turn, ideal = (balance(fleet, policy).mean() for policy in (Policy.ROUND_ROBIN, Policy.CENTRAL))
    assert in_turn == pytest.approx(ideal, rel=1e-6)


def test_round_robin_of_many_workers_equals_random_choice() -> None:
    few, many = (balance(Fleet(0.8, clients, nodes(20)), Policy.ROUND_ROBIN).mean() for clients in (2, 1_000))

    assert few < 0.5 * many
    assert many == pytest.approx(mean_wait_md1(0.8), rel=0.15)


def test_an_informed_policy_spares_a_slow_node() -> None:
    fleet = Fleet(0.8, 5, nodes(20, slow=2), requests=50_000)

    informed, blind = (np.percentile(balance(fleet, each), 99) for each in (Policy.TWO_CHOICES, Policy.ROUND_ROBIN))
    assert informed < 0.1 * blind


@pytest.mark.parametrize("policy", [*Policy, None])
def test_the_same_seed_gives_the_same_figures(policy: Policy | None) -> None:
    def figures(seed: int) -> Floats:
        if policy is None:
            group = vault.Group(RENEWING, np.linspace(0, 60, 50))
            return vault.simulate([group], 600.0, refresh=60.0, seed=seed).requests
        return balance(Fleet(0.6, 3, nodes(5), requests=2_000, seed=seed), policy)

    first, again, other = (figures(seed).tolist() for seed in (1, 1, 2))

    assert first == again != other


# With the example of the SRE book: 300 backends, subsets of 10.
@pytest.mark.parametrize(("count", "size"), [(300, 10), (200, 7), (12, 3), (5, 5)])
def test_numbered_clients_of_a_round_share_no_node(count: int, size: int) -> None:
    in_a_round = count // size
    subsets = deterministic(np.arange(3 * in_a_round), count, size)

    rounds = subsets.reshape(3, -1).tolist()
    assert [len(set(one)) for one in rounds] == [in_a_round * size] * 3
    assert subsets[:in_a_round].tolist() == deterministic(np.arange(in_a_round), count, size).tolist()


def test_random_subsets_have_distinct_nodes() -> None:
    assert all(len(set(row)) == 5 for row in chosen_at_random(50, 20, 5, np.random.default_rng(1)).tolist())


def test_a_failed_node_s_load_moves_to_the_nodes_that_share_its_clients() -> None:
    subsets = np.array([[0, 1], [1, 2], [2, 3]])
    alive = np.array([False, True, True, True])

    assert shares(subsets, 4) == pytest.approx(np.array([1, 2, 2, 1]) / 6)
    assert shares(subsets, 4, alive) == pytest.approx(np.array([0, 3, 2, 1]) / 6)


def test_clients_reconnect_within_the_longest_pause_after_a_node_s_return() -> None:
    tries, last = reconnections(500, 10.0, np.random.default_rng(1))

    assert 10.0 <= last.min() <= last.max() <= 10.0 + 0.5 * 1.2
    assert len(tries) > 500 * 10 / 0.6


@pytest.mark.parametrize(("limit", "goodput"), [(4, 1.0), (64, 0.0)])
def test_a_fixed_limit_works_while_all_admitted_calls_can_be_in_time(limit: float, goodput: float) -> None:
    # 10 workers, 1 s: 10 * 4 * 1.8 ms is within it, 10 * 64 * 1.8 ms is not, and then every call is late.
    case = Overload(2.0, 10, 1.0, drops_expired=False)

    assert overload(case, lambda _: Limiter(limit)).goodput == pytest.approx(goodput, abs=0.02)


@pytest.mark.parametrize(("workers", "deadline"), [(1, 1.0), (10, 1.0), (100, 10.0)])
def test_the_gateway_s_limiter_keeps_a_node_busy_and_calls_in_time(workers: int, deadline: float) -> None:
    found = overload(Overload(2.0, workers, deadline, drops_expired=False), Own)

    assert found.limits.max() <= MOST
    assert found.goodput > 0.97
    assert found.late < 0.01
    assert found.latency(99) < deadline / 2


def test_the_simulated_rule_equals_the_gateway_s_limiter() -> None:
    case = Overload(2.0, 10, 1.0, seconds=10.0, warm_up=2.0)

    own, rule = overload(case, Own), overload(case, Aimd)

    assert own.latency(50) == pytest.approx(rule.latency(50), rel=0.1)
    assert own.limits.mean() == pytest.approx(rule.limits.mean(), rel=0.5)


def test_a_cut_starts_from_the_calls_under_way_or_from_the_limit() -> None:
    limiters = [Aimd(10.0, first=16), Aimd(10.0, first=16, from_flight=False)]

    for limiter in limiters:
        limiter.done(1.0, 0.1, 2, IN_TIME)
        limiter.done(8.0, 5.0, 2, IN_TIME)

    assert [limiter.limit for limiter in limiters] == [1.5, 12.0]


def test_the_gateway_s_limiter_refuses_beyond_its_limit_until_a_call_has_ended() -> None:
    with own_clock():
        limiter = Own(10.0, most=2)

        assert [limiter.admits(now, now) for now in range(3)] == [True, True, False]
        limiter.done(3.0, 3.0, 2, IN_TIME)
        assert limiter.admits(4.0, 1)


def test_key_vault_answers_a_number_of_requests_in_each_window() -> None:
    throttle = vault.Throttle(limit=2)

    answered = [throttle.answers(at) for at in (0.0, 1.0, 2.0, 9.9, 10.0, 11.0, 12.0)]

    assert answered == [True, True, False, False, True, True, False]


def test_caches_at_half_of_the_limit_are_never_refused() -> None:
    starts = np.random.default_rng(1).random(int(vault.most_caches(60.0) / 2)) * 60

    found = vault.simulate([vault.Group(RENEWING, starts)], 1_200.0, refresh=60.0)

    assert len(found.refused) == 0
    assert found.per_window(1_200.0)[0][20:].mean() == pytest.approx(vault.LIMIT / 2, rel=0.05)


def test_cold_starts_beyond_the_limit_wait_for_later_windows() -> None:
    [ready] = vault.simulate([vault.Group(COLD, np.zeros(5_000))], 120.0).ready_after

    # 1,333 in each window of ten seconds.
    assert (ready < 10).sum() == vault.LIMIT // vault.SECRETS
    assert 30 <= ready.max() < 50


class Reader:
    """A cache of the gateway whose reads have the same result each time, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads: list[float] = []
        self.cache = CredentialCache(self._read, refresh_seconds=300.0, clock=lambda: self.now)

    async def _read(self) -> Credentials:
        self.reads.append(self.now)
        return Credentials(("key",), Pins(b"", ()), self.now)


async def test_the_gateway_s_caches_are_renewed_as_in_the_model() -> None:
    for _ in range(20):
        reader = Reader()
        await reader.cache.current()
        # It has no public name.
        assert 300.0 * vault.SPREAD <= reader.cache._refresh_at <= 300.0


async def test_the_gateway_s_caches_pause_between_forced_reads_as_in_the_model() -> None:
    reader = Reader()
    await reader.cache.current()
    for _ in range(1_000):
        reader.now += 0.1
        await reader.cache.newer_than(await reader.cache.current())

    pauses = np.diff(reader.reads)

    assert pauses == pytest.approx([vault.less_often(times) for times in range(len(pauses))], abs=0.11)
    assert pauses[-1] > 5 * pauses[0]


def test_the_page_s_margin_is_the_one_that_rotations_add_to_the_refresh_time() -> None:
    assert observer._READING + observer._ROUNDED == MORE


@pytest.mark.parametrize("takes", [pins.QUICK, pins.HANGING])
@pytest.mark.parametrize("failing", [0.0, 0.1, 0.4])
def test_the_computed_probability_of_a_late_read_is_that_of_the_simulation(failing: float, takes: float) -> None:
    reading = pins.Reading(300.0, failing, takes)
    seen = pins.seen_after(reading, 400_000, np.random.default_rng(1))

    for at in (0.0, 100.0, 250.0, 290.0, 310.0):
        assert pins.late(reading, at) == pytest.approx((seen > at).mean(), abs=0.003)
    assert (pins.late(reading, 300.0) == 0) == (failing == 0)


def test_only_the_tables_of_a_page_change() -> None:
    page = "before\n<!-- table one -->\nold\n<!-- end -->\nbetween\n<!-- table two -->\n<!-- end -->\nafter\n"

    assert filled(page, {"one": "new"}) == page.replace("old", "new")
    with pytest.raises(LookupError, match="three"):
        filled(page, {"three": ""})


def test_the_page_has_its_tables_and_charts() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")

    tables = re.findall(r"<!-- table [\w-]+ -->\n(.*?)<!-- end -->", page, re.DOTALL)
    charts = re.findall(r"\(scale/([\w-]+\.svg)\)", page)

    assert len(tables) >= 15
    assert all(table.count("\n|") >= 3 for table in tables)
    assert sorted(charts) == sorted(file.name for file in (ROOT / "docs" / "scale").iterdir())
