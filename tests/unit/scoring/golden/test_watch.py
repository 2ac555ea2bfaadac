"""The background check: when it runs, what it reports, and when it is repeated."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from shared.errors import GatewayError, Misconfigured, ServiceUnreachable
from shared.scoring.golden.check import Checker, Outcome, Report
from shared.scoring.golden.expected import Photograph
from shared.scoring.golden.watch import BETWEEN_SECONDS, LONGEST_PAUSE, Golden
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from tests.support.clock import Clock


class FakeChecker(Checker):
    """Gives prepared results, each after a second; the last one again and again."""

    def __init__(self, *results: Report | Exception) -> None:
        self.results = list(results)
        self.started: list[float] = []
        self.golden: Golden | None = None

    async def check(self, context: RequestContext) -> Report:
        assert context.remaining > 0
        self.started.append(time.monotonic())
        await asyncio.sleep(1)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        if self.golden is not None:
            self.golden.answered(result.version)
        return result


def report(*deviations: str, version: int | None = 1) -> Report:
    found = (Outcome(Photograph(f"{at}.png"), text, {}, version) for at, text in enumerate(deviations))
    return Report(tuple(found))


type Start = Callable[..., tuple[Golden, FakeChecker]]


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Start]:  # noqa: ARG001 - the loop runs by it
    made: list[Golden] = []

    def start(*results: Report | Exception, enforce: bool = False) -> tuple[Golden, FakeChecker]:
        checker = FakeChecker(*results)
        golden = Golden(ServiceSettings("cats", "x", golden="g", golden_enforce=enforce), checker)
        checker.golden = golden
        made.append(golden)
        return golden, checker

    yield start
    for golden in made:
        golden.close()


async def test_it_runs_at_the_first_answer_and_not_at_the_next(start: Start) -> None:
    golden, checker = start(report("", ""))
    assert (str(golden.status), golden.status.holds_back) == ("checking", True)

    for _ in range(3):
        golden.answered(1)
    await asyncio.sleep(60)
    golden.answered(1)
    golden.request()
    await asyncio.sleep(60)

    assert len(checker.started) == 1
    assert (str(golden.status), golden.status.version, golden.status.holds_back) == ("2 of 2", 1, False)


async def test_it_runs_when_it_is_requested(start: Start) -> None:
    """For a service that has no traffic before its photographs match."""
    golden, checker = start(report("", ""))

    golden.request()
    golden.request()
    await asyncio.sleep(60)

    assert (len(checker.started), golden.status.holds_back) == (1, False)


@pytest.mark.parametrize("version", [None, "3"])
async def test_versions_may_be_missing_or_words(start: Start, version: int | None) -> None:
    golden, checker = start(report("", version=version))

    golden.answered(version)
    await asyncio.sleep(60)

    assert (len(checker.started), golden.status.holds_back) == (1, False)


async def test_a_deviation_is_reported_and_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    golden, _ = start(report("", "too low", "too high"))

    golden.answered(1)
    await asyncio.sleep(60)

    status = golden.status
    assert (str(status), status.first_deviation, status.blocks) == ("1 of 3", "1.png: too low", False)
    assert not status.holds_back, "it only warns"
    [record] = [one for one in caplog.records if "golden" in one.message]
    assert record.levelname == "WARNING"
    assert record.message == (
        "service cats: golden: 1 of 3 match (model version 1); 1.png: too low. "
        "`scoring-client golden check` tries the likely causes"
    )


async def test_a_new_version_is_checked_and_until_then_the_old_result_stays(start: Start) -> None:
    golden, checker = start(report("", version=1), report("wrong", version=2), enforce=True)
    golden.answered(1)
    await asyncio.sleep(60)
    assert not golden.status.blocks

    golden.answered(2)

    assert (str(golden.status), golden.status.version, golden.status.blocks) == ("1 of 1", 1, False)
    assert golden.status.holds_back, "its share of traffic does not grow meanwhile"
    await asyncio.sleep(60)
    assert (str(golden.status), golden.status.version, golden.status.blocks) == ("0 of 1", 2, True)
    assert len(checker.started) == 2


async def test_a_version_that_changes_during_the_check_is_checked_too(start: Start) -> None:
    golden, checker = start(report("", version=1), report("", version=2))
    checker.golden = None  # the photographs were still scored by the old one

    golden.answered(1)
    await asyncio.sleep(0.5)
    golden.answered(2)
    await asyncio.sleep(60)

    assert (len(checker.started), golden.status.version, golden.status.holds_back) == (2, 2, False)
    assert checker.started[1] - checker.started[0] == 1 + BETWEEN_SECONDS


async def test_replicas_of_several_versions_do_not_cause_a_check_for_each_answer(start: Start) -> None:
    golden, checker = start(report("", version=1))

    for at in range(300):
        golden.answered(1 + at % 2)
        await asyncio.sleep(0.1)

    assert len(checker.started) <= 30 / BETWEEN_SECONDS + 1


async def test_a_service_that_is_away_is_tried_again_with_growing_pauses(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    golden, checker = start(*[ServiceUnreachable("gone")] * 12, report(""))

    golden.answered(1)
    await asyncio.sleep(5)
    status = golden.status
    assert (str(status), isinstance(status.problem, ServiceUnreachable), status.blocks) == ("not checked", True, False)
    await asyncio.sleep(3600)

    assert (str(golden.status), golden.status.problem, golden.status.holds_back) == ("1 of 1", None, False)
    pauses = [later - earlier - 1 for earlier, later in zip(checker.started, checker.started[1:], strict=False)]
    assert len(pauses) == 12
    assert pauses[0] <= 1
    assert pauses[0] < pauses[3] < pauses[6]
    assert LONGEST_PAUSE / 2 <= max(pauses) <= LONGEST_PAUSE
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1, "the same cause is logged once"


@pytest.mark.parametrize("problem", [Misconfigured("no folder"), ServiceUnreachable("gone"), ValueError("a fault")])
async def test_where_it_is_enforced_a_service_is_not_ready_before_its_photographs_match(
    start: Start, problem: Exception
) -> None:
    golden, _ = start(problem, enforce=True)
    assert golden.status.blocks

    golden.answered(1)
    await asyncio.sleep(60)

    status = golden.status
    assert (str(status), status.blocks) == ("not checked", True)
    assert isinstance(status.problem, GatewayError)
    assert "a fault" not in status.problem.detail


async def test_photographs_none_of_which_can_be_scored_are_not_checked_in_a_loop(start: Start) -> None:
    golden, checker = start(Report((Outcome(Photograph("a"), "damaged-image: x"),)))
    checker.golden = None

    golden.answered(1)
    await asyncio.sleep(600)

    assert len(checker.started) == 1
    assert (str(golden.status), golden.status.holds_back) == ("0 of 1", False)


async def test_a_closed_one_ends(start: Start) -> None:
    golden, checker = start(report(""))
    golden.answered(1)
    await asyncio.sleep(0.5)

    golden.close()
    await asyncio.sleep(60)

    assert str(golden.status) == "checking"
    assert len(checker.started) == 1
