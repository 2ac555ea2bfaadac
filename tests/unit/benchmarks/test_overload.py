"""The overload's arithmetic, and the times of its requests."""

import pytest

from benchmarks.harness.open_loop import Answer, Load
from benchmarks.overload import numbers
from benchmarks.overload.numbers import Phases

PHASES = Phases(2, 2, 3)


def steady(begin: float, end: float, took: float, status: int = 200) -> list[Answer]:
    """A hundred requests a second."""
    return [Answer(begin + n / 100, took, status, status != 200) for n in range(round(100 * (end - begin)))]


def test_the_goodput_counts_scores_by_the_moment_of_their_arrival() -> None:
    answers = [Answer(1.9, 0.2, 200), Answer(3.9, 0.05, 200), Answer(3.9, 0.2, 200), Answer(3.0, 0.1, 503, True)]

    assert numbers.goodput(answers, PHASES) == 1.0


@pytest.mark.parametrize(
    ("took", "status", "retry_after", "good", "refusal"),
    [
        (0.1, 200, False, True, False),
        (20.0, 200, False, False, False),
        (0.1, 503, True, False, True),
        (0.1, 429, True, False, True),
        (0.1, 503, False, False, False),
        (0.1, 504, True, False, False),
        (0.1, 0, False, False, False),
    ],
)
def test_what_is_good_and_what_is_a_refusal(
    took: float, status: int, retry_after: bool, good: bool, refusal: bool
) -> None:
    answer = Answer(0.0, took, status, retry_after)

    assert numbers.is_good(answer) is good
    assert numbers.is_refusal(answer) is refusal


def test_times_are_normal_once_a_second_of_answers_is_as_before() -> None:
    before, over = steady(0, 2, 0.010), steady(2, 4, 0.5)

    at_once = [*before, *over, *steady(4, 7, 0.019)]
    later = [*before, *over, *steady(4, 4.5, 0.021), *steady(4.5, 7, 0.010)]
    refused = [*before, *over, *steady(4, 5, 0.001, 503), *steady(5, 7, 0.010)]
    never = [*before, *over, *steady(4, 7, 0.021)]

    found = [numbers.normal_after(answers, PHASES) for answers in (at_once, later, refused, never)]
    assert found == [0.0, 0.5, 1.0, None]


def test_the_memory_is_compared_with_that_before() -> None:
    samples = [{"at": at, "rss_mb": held} for at, held in ((0.0, 90.0), (1.9, 100.0), (3.0, 130.0), (6.0, 104.0))]

    assert numbers.memory(samples, PHASES) == {"before_mb": 100.0, "most_more_mb": 30.0, "more_at_the_end_mb": 4.0}


def test_requests_leave_at_random_times_that_are_the_same_for_the_same_seed() -> None:
    load = Load(b"", rate=1000, seconds=10, begin=5)

    times = load.times(1)

    assert times == load.times(1) != load.times(2)
    assert 5 <= min(times) <= max(times) < 15
    assert len(times) == pytest.approx(10_000, rel=0.05)
