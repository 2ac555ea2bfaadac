"""The check of the simulations: a node that batches, the gateway's limits before it, and what is counted of answers."""

import re
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.harness.open_loop import Answer
from benchmarks.harness.paths import ROOT
from benchmarks.scale.balancing import Fleet, Policy, in_turn, simulate
from benchmarks.scale.check import admission, split
from benchmarks.scale.check import in_turn as turns
from benchmarks.scale.check.spread import spread
from benchmarks.scale.check.stack import Length
from benchmarks.scale.limiters import Own
from benchmarks.scale.overload import BatchingNode, Overload
from benchmarks.scale.overload import simulate as overload
from benchmarks.scale.pages import Kind


def test_a_batching_node_takes_what_waits_when_it_becomes_free() -> None:
    node = BatchingNode(0.25, 4, drops_expired=True)

    calls = [(0.0, 9.0, 1), (0.1, 9.0, 3), (0.2, 9.0, 2), (0.9, 9.0, 2), (1.0, 9.0, 1), (5.0, 9.0, 4)]
    assert [node.serve(*call) for call in calls] == [1.0, 2.0, 3.0, 3.0, 4.0, 6.0]
    assert node.serve(5.1, 6.0) == float("inf")
    assert node.serve(5.2, 9.0) == 7.0


@pytest.mark.parametrize("workers", [1, 3])
def test_the_gateway_s_limiter_keeps_a_node_busy_that_batches(workers: int) -> None:
    """A response takes two batches where there is no queue, and full batches need one of a batch."""
    quiet, busy = (overload(Overload(load, workers, 1.0, 120.0, service=0.01, batch=8), Own) for load in (0.8, 2.0))

    assert quiet.refused < 0.02
    assert busy.goodput > 0.98
    assert busy.latency(99) < 0.75


def test_the_times_at_nodes_in_turn_are_the_simulated_waits_and_the_service_times() -> None:
    fleet = Fleet(0.6, 3, turns.UNEVEN, requests=2_000)

    spent, chosen = in_turn(fleet)

    assert spent == pytest.approx(simulate(fleet, Policy.ROUND_ROBIN) + np.array(turns.UNEVEN)[chosen])
    assert np.ptp(np.bincount(chosen)) <= 2 * 3


def test_a_row_has_each_figure_simulated_and_measured() -> None:
    found = turns.Found(np.array([0.0, 0.004, 0.2]), [30, 33, 27, 30])

    row = turns.row(turns.CASES[2], 300, found)

    assert len(row) == len(turns.HEAD)
    assert list(row[:4]) == ["3", "even", "60 %", "300"]
    assert (row[5], row[7], row[9]) == ("4.0", "196", "1.10")
    middle, least, most = (float(number) for number in re.findall(r"[\d.]+", row[6]))
    assert least <= middle <= most
    assert spread([1.0, 1.04, 0.96], lambda value: f"{value:.1f}") == "1.0"


def test_answers_are_counted_as_the_simulation_counts_them() -> None:
    answers = [
        Answer(0.5, 0.1, 200),  # before the warm-up's end
        *(Answer(at, 0.1, 200) for at in (0.95, 1.5, 2.5)),
        *(Answer(2.0, 0.001, 503, True) for _ in range(4)),
        Answer(1.5, 1.2, 200),
        Answer(1.6, 1.1, 504),
        Answer(2.95, 0.1, 200),  # after the end
    ]

    found = admission.summary(answers, 1.0, Length(3.0, 1.0))

    assert found.goodput == pytest.approx(3 * admission.SERVICE / 2)
    assert found[1:] == pytest.approx((4 / 9, 2 / 9, 0.1, 0.1))
    row = admission.row(admission.CASES[2], [found] * 3, found)
    assert len(row) == len(admission.HEAD)
    assert list(row[6:8]) == ["44 %", "44 %"]


def death(*, failed: int) -> split.Death:
    """Ten requests a second each to both members; the second one is away from second 5 to second 8."""
    every = np.arange(0.05, 100.0, 0.1)
    blue = [Answer(at, 0.1, 200, service="blue-killed") for at in every]
    green = [Answer(at, 0.2, 200, service="green-killed") for at in every if not 5.0 <= at < 8.0]
    green += [Answer(4.9, 2.0, 503, service="green-killed")] * failed
    return split.Death(5.0, 8.0, sorted(blue + green))


def test_failures_are_those_of_requests_that_were_with_the_member_when_it_died() -> None:
    row = dict(zip(split.FAILURES, split.row(split.KILLED, death(failed=3)), strict=True))

    assert row["requests meanwhile"] == "30"
    assert float(row["at the member when it died: computed"]) == split.RATE / 2 * 0.2
    assert (row["measured"], row["failed"], row["given to it meanwhile"]) == ("5", "3", "0 %")
    assert (row["last failure began after, s"], row["slowest failure, s"]) == ("0.00", "2.00")


def test_the_promised_share_comes_back_slowly() -> None:
    rows = split.return_rows(death(failed=0))

    promised = [float(row[2].removesuffix(" %")) for row in rows]
    assert promised[:2] == [50, 0]
    assert all(earlier <= later for earlier, later in pairwise(promised[1:]))
    assert 9 < promised[2] < 20
    assert promised[-2:] == [50, 50]
    assert [row[3] for row in rows[:3]] == ["50 %", "0 %", "50 %"]


def test_each_table_of_the_page_says_where_its_figures_come_from() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")

    kinds = {}
    for name, table in re.findall(r"<!-- table ([\w-]+) -->\n(.*?)<!-- end -->", page, re.DOTALL):
        found = re.search(r"\n\n\*(\w+)[ .][^*]*\*\n$", table)
        assert found, name
        kinds[name] = Kind(found[1])
    assert {name for name, kind in kinds.items() if kind is Kind.MEASURED} == {
        name for name in kinds if name.startswith("check-")
    }
    charts = [file.read_text(encoding="utf-8") for file in (ROOT / "docs" / "scale").iterdir()]
    assert all("simulated" in chart or "computed" in chart for chart in charts)
