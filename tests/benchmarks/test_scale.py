"""The simulations agree with theory, with each other and with the gateway's code; the same seed, the same figures."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks.scale import pins, vault
from benchmarks.scale.balancing import Fleet, Policy, nodes
from benchmarks.scale.balancing import simulate as balance
from benchmarks.scale.figures.pins import MORE
from benchmarks.scale.limiters import MOST, Aimd, Fixed, Maker, Own, own_clock
from benchmarks.scale.overload import Node, Overload, jain
from benchmarks.scale.overload import simulate as overload
from benchmarks.scale.pages import MissingPlace, Table, filled
from benchmarks.scale.queues import SERVICE, mean_wait_md1, poisson, waits
from benchmarks.scale.subsets import chosen_at_random, connections, deterministic, reconnections, shares
from benchmarks.scale.svg import Axis, Chart, Series
from shared.trust import observer
from shared.trust.certificates import Pins
from shared.trust.credentials import CredentialCache, Credentials
from tests.conftest import ROOT

# --- queues


@pytest.mark.parametrize("use", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_pollaczek_and_khinchine(use: float) -> None:
    arrivals = poisson(use / SERVICE, 1_000_000, np.random.default_rng(1))

    assert waits(arrivals, SERVICE).mean() == pytest.approx(mean_wait_md1(use), rel=0.03)


def test_waits_without_a_loop_are_those_of_a_node_that_serves_one_after_the_other() -> None:
    arrivals = poisson(0.9 / SERVICE, 2_000, np.random.default_rng(1))
    node = Node(SERVICE, lambda _: 1.0, drops_expired=False)

    served = np.array([node.serve(now, np.inf) for now in arrivals])

    assert waits(arrivals, SERVICE) == pytest.approx(served - arrivals - SERVICE, abs=1e-9)


def test_a_node_that_drops_the_expired_spends_nothing_on_them() -> None:
    node = Node(1.0, lambda _: 1.0, drops_expired=True)

    assert [node.serve(0.0, 1.5), node.serve(0.0, 1.5), node.serve(0.0, 1.5), node.serve(0.0, 9.0)] == [
        1.0,
        2.0,
        np.inf,
        3.0,
    ]


# --- balancing


def test_one_worker_in_turn_does_as_well_as_one_queue_for_all() -> None:
    fleet = Fleet(0.8, 1, nodes(20), requests=20_000)

    in_turn, ideal = balance(fleet, Policy.ROUND_ROBIN), balance(fleet, Policy.CENTRAL)

    # The same, but for where in the turn it begins.
    assert in_turn.mean() == pytest.approx(ideal.mean(), rel=1e-6)


def test_many_workers_in_turn_come_to_chance() -> None:
    few, many = (balance(Fleet(0.8, clients, nodes(20)), Policy.ROUND_ROBIN).mean() for clients in (2, 1_000))

    assert few < 0.5 * many
    assert many == pytest.approx(mean_wait_md1(0.8), rel=0.15)


def test_who_sees_queues_spares_a_slow_node() -> None:
    fleet = Fleet(0.8, 5, nodes(20, slow=2), requests=50_000)

    seeing, blind = balance(fleet, Policy.TWO_CHOICES), balance(fleet, Policy.ROUND_ROBIN)

    assert np.percentile(seeing, 99) < 0.1 * np.percentile(blind, 99)


@pytest.mark.parametrize("policy", list(Policy))
def test_the_same_seed_gives_the_same_waits(policy: Policy) -> None:
    first, again, other = (
        balance(Fleet(0.6, 3, nodes(5), requests=2_000, seed=seed), policy).tolist() for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


# --- subsets


@pytest.mark.parametrize(("count", "size"), [(200, 10), (200, 7), (12, 3), (5, 5)])
def test_numbered_clients_of_a_round_share_no_node(count: int, size: int) -> None:
    a_round = count // size
    subsets = deterministic(np.arange(3 * a_round), count, size)

    for turn in range(3):
        members = subsets[turn * a_round : (turn + 1) * a_round].ravel()
        assert len(set(members.tolist())) == a_round * size
    assert connections(subsets, count).max() <= 3


def test_numbered_subsets_are_even_where_the_division_leaves_nothing_over() -> None:
    # The example of the SRE book: 300 clients, 300 backends, subsets of 10.
    assert set(connections(deterministic(np.arange(300), 300, 10), 300).tolist()) == {10}


def test_a_client_keeps_its_subset_whoever_else_there_is() -> None:
    few, many = deterministic(np.arange(10), 200, 10), deterministic(np.arange(500), 200, 10)

    assert many[:10].tolist() == few.tolist()


def test_subsets_at_random_hold_no_node_twice_and_differ() -> None:
    subsets = chosen_at_random(50, 20, 5, np.random.default_rng(1))

    assert all(len(set(row)) == 5 for row in subsets.tolist())
    assert len({tuple(sorted(row)) for row in subsets.tolist()}) > 40


def test_what_a_dead_node_had_goes_to_those_with_which_it_shared_clients() -> None:
    subsets = np.array([[0, 1], [1, 2], [2, 3]])
    alive = np.array([False, True, True, True])

    assert shares(subsets, 4) == pytest.approx(np.array([1, 2, 2, 1]) / 6)
    assert shares(subsets, 4, alive) == pytest.approx(np.array([0, 3, 2, 1]) / 6)


def test_all_are_back_within_the_longest_pause_of_a_node_s_return() -> None:
    tries, last = reconnections(500, 10.0, np.random.default_rng(1))

    assert last.min() >= 10.0
    assert last.max() <= 10.0 + 0.5 * 1.2
    assert len(tries) > 500 * 10 / 0.6


# --- limits


def _fixed(limit: float) -> Maker:
    return lambda _: Fixed(limit)


@pytest.mark.parametrize(("limit", "goodput"), [(4, 1.0), (64, 0.0)])
def test_a_fixed_limit_holds_while_all_that_is_let_in_is_served_in_time(limit: float, goodput: float) -> None:
    # 10 workers, 1 s: 10 * 4 * 1.8 ms is within it, 10 * 64 * 1.8 ms is not, and then every call comes too late.
    case = Overload(2.0, 10, 1.0, drops_expired=False)

    assert overload(case, _fixed(limit)).goodput == pytest.approx(goodput, abs=0.02)


@pytest.mark.parametrize(("workers", "deadline"), [(1, 1.0), (10, 1.0), (100, 10.0)])
def test_the_gateway_s_own_limit_keeps_a_node_busy_in_time_for_one_worker_and_for_many(
    workers: int, deadline: float
) -> None:
    found = overload(Overload(2.0, workers, deadline, drops_expired=False), Own)

    assert found.goodput > 0.97
    assert found.late < 0.01
    assert found.latency(99) < deadline / 2


def test_the_rule_that_is_taken_apart_is_the_gateway_s_own() -> None:
    case = Overload(2.0, 10, 1.0, seconds=10.0, warm_up=2.0)

    own, rule = overload(case, Own), overload(case, Aimd)

    assert own.latency(50) == pytest.approx(rule.latency(50), rel=0.1)
    assert own.limits.mean() == pytest.approx(rule.limits.mean(), rel=0.5)


def test_cutting_a_limit_that_is_not_used_changes_nothing() -> None:
    cutting_flight, cutting_limit = Aimd(10.0, first=16), Aimd(10.0, first=16, from_flight=False)

    for limiter in (cutting_flight, cutting_limit):
        limiter.done(1.0, 0.1, 2, in_time=True)
        limiter.done(8.0, 5.0, 2, in_time=True)

    assert (cutting_flight.limit, cutting_limit.limit) == (1.5, 12.0)


def test_the_own_limiter_refuses_beyond_its_limit_and_lets_in_when_a_call_has_ended() -> None:
    with own_clock():
        limiter = Own(10.0, most=2)

        assert [limiter.admits(now, now) for now in range(3)] == [True, True, False]
        limiter.done(3.0, 3.0, 2, in_time=True)
        assert limiter.admits(4.0, 1)


def test_the_own_limiter_s_ceiling_is_the_setting_s_default() -> None:
    assert overload(Overload(2.0, 1, 10.0), Own).limits.tolist() == [MOST]


def test_fairness_is_one_among_equals_and_a_share_where_one_has_all() -> None:
    assert jain(np.array([3.0, 3.0, 3.0])) == pytest.approx(1.0)
    assert jain(np.array([9.0, 0.0, 0.0])) == pytest.approx(1 / 3)


# --- Key Vault


def test_the_vault_answers_so_many_in_a_window_and_refused_ones_do_not_count() -> None:
    throttle = vault.Throttle(limit=2)

    assert [throttle.answers(at) for at in (0.0, 1.0, 2.0, 9.9, 10.0, 11.0, 12.0)] == [
        *(True, True, False, False),
        *(True, True, False),
    ]


def test_half_of_what_the_vault_can_do_is_never_refused() -> None:
    count = int(vault.most_caches(60.0) / 2)
    starts = np.random.default_rng(1).random(count) * 60

    course = vault.simulate([vault.Group(vault.Kind.RENEWING, starts)], 1_200.0, refresh=60.0)

    assert len(course.refused) == 0
    asked, _ = course.per_window(1_200.0)
    assert asked[20:].mean() == pytest.approx(vault.LIMIT / 2, rel=0.05)


def test_cold_starts_beyond_the_limit_wait_for_their_turn() -> None:
    count = 5_000
    course = vault.simulate([vault.Group(vault.Kind.COLD, np.zeros(count))], 120.0)

    ready = course.ready_after[0]
    # 1,333 in each window of ten seconds.
    assert (ready < 10).sum() == vault.LIMIT // vault.SECRETS
    assert 30 <= ready.max() < 50


def test_the_same_seed_gives_the_same_course() -> None:
    group = vault.Group(vault.Kind.RENEWING, np.linspace(0, 60, 50))

    first, again, other = (vault.simulate([group], 600.0, refresh=60.0, seed=seed).asked.tolist() for seed in (1, 1, 2))

    assert first == again
    assert first != other


class Story:
    """A cache of the gateway whose reads bring the same each time, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads: list[float] = []
        self.cache = CredentialCache(self._read, refresh_seconds=300.0, clock=lambda: self.now)

    async def _read(self) -> Credentials:
        self.reads.append(self.now)
        return Credentials(("key",), Pins(b"", ()), self.now)


async def test_the_gateway_s_caches_are_renewed_when_the_model_says() -> None:
    for _ in range(20):
        story = Story()
        await story.cache.current()
        # Nothing but time tells it otherwise.
        assert 300.0 * vault.SPREAD <= story.cache._refresh_at <= 300.0


async def test_the_gateway_s_caches_read_in_vain_when_the_model_says() -> None:
    story = Story()
    await story.cache.current()
    for _ in range(1_000):
        story.now += 0.1
        await story.cache.newer_than(await story.cache.current())

    pauses = np.diff(story.reads)

    assert pauses == pytest.approx([vault.seldomer(times) for times in range(len(pauses))], abs=0.11)
    assert pauses[-1] > 5 * pauses[0]


# --- pins


def test_what_rotations_add_to_the_refresh_time_is_what_the_page_counts_with() -> None:
    assert observer._READING + observer._ROUNDED == MORE


@pytest.mark.parametrize("takes", [pins.QUICK, pins.HANGING])
@pytest.mark.parametrize("failing", [0.0, 0.1, 0.4])
def test_the_chance_to_be_late_is_that_of_the_simulation(failing: float, takes: float) -> None:
    reading = pins.Reading(300.0, failing, takes)
    seen = pins.seen_after(reading, 400_000, np.random.default_rng(1))

    for at in (100.0, 250.0, 290.0, 310.0):
        assert pins.late(reading, at) == pytest.approx((seen > at).mean(), abs=0.003)


def test_without_failures_nobody_is_later_than_the_refresh_time() -> None:
    assert pins.late(pins.Reading(300.0), 0.0) == pytest.approx(1.0)
    assert pins.late(pins.Reading(300.0), 299.0) > 0
    assert pins.late(pins.Reading(300.0), 300.0) == 0


# --- the page


def test_tables_take_their_places_in_the_page_and_nothing_else_changes() -> None:
    page = "before\n<!-- table one -->\nold\n<!-- end -->\nbetween\n<!-- table two -->\n<!-- end -->\nafter\n"
    one = Table("one", ["a", "b"], [["1", "2"]])

    assert filled(page, [one]) == page.replace("old\n", "| a | b |\n| --- | ---: |\n| 1 | 2 |\n")
    with pytest.raises(MissingPlace, match="three"):
        filled(page, [Table("three", ["a"], [])])


@pytest.mark.parametrize("log", [False, True])
def test_a_chart_is_well_formed_and_the_same_each_time(log: bool) -> None:
    chart = Chart("x", "a < b", Axis("x", log=log), Axis("y"), [Series("one & two", [(1, 2), (10, 30), (100, np.nan)])])

    drawn = chart.svg()

    root = ET.fromstring(drawn)  # noqa: S314 - drawn by this very test
    [line] = [part for part in root if part.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    assert "a &lt; b" in drawn
    assert drawn == chart.svg()


def test_the_page_is_filled_and_shows_its_charts() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")

    tables = re.findall(r"<!-- table [\w-]+ -->\n(.*?)<!-- end -->", page, re.DOTALL)
    charts = re.findall(r"\(scale/([\w-]+\.svg)\)", page)

    assert len(tables) >= 15
    assert all(table.count("\n|") >= 3 for table in tables)
    assert sorted(charts) == sorted(file.name for file in (ROOT / "docs" / "scale").iterdir())
