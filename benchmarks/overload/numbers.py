"""The outcomes of an overload's requests in numbers; pure arithmetic over the client's answers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.harness.open_loop import Answer
from shared.settings import ServiceSettings

# The width of the plot's steps, in seconds.
STEP = 0.25
# A service is back to normal when the 99th percentile of a second's answers is within so many times that of before.
NORMAL_TIMES, NORMAL_SECONDS = 2.0, 1.0
WARM_UP = 1.0

# A score that comes later than the request's deadline is useless.
IN_TIME = ServiceSettings.deadline_seconds


class Phases(NamedTuple):
    """How long the load is normal, too high, and normal again, in seconds."""

    before: float
    over: float
    after: float

    @property
    def begin(self) -> float:
        """Where the normal load is counted: after the first second, with its new connections and first uses of code."""
        return min(WARM_UP, self.before / 2)

    @property
    def end_of_overload(self) -> float:
        return self.before + self.over

    @property
    def end(self) -> float:
        return self.before + self.over + self.after


def is_good(answer: Answer) -> bool:
    """Whether it is a score that came in time."""
    return answer.status == 200 and answer.took <= IN_TIME


def is_refusal(answer: Answer) -> bool:
    """Whether it is 429 or 503 with ``Retry-After``."""
    return answer.status in (429, 503) and answer.retry_after


def percentile_ms(answers: Iterable[Answer], share: float) -> float | None:
    """The time that ``share`` of the answers do not exceed, in milliseconds; None where there are none."""
    ranked = sorted(answer.took for answer in answers)
    return round(1000 * ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)], 2) if ranked else None


def counts(answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
    """How many a second were offered, scored in time, refused and lost; the times of the scored and refused ones."""
    good, refused = list(filter(is_good, answers)), list(filter(is_refusal, answers))
    return {
        "offered": round(len(answers) / seconds, 1),
        "good": round(len(good) / seconds, 1),
        "refused": round(len(refused) / seconds, 1),
        "other": round((len(answers) - len(good) - len(refused)) / seconds, 1),
        "good_times": {"p50_ms": percentile_ms(good, 0.5), "p99_ms": percentile_ms(good, 0.99)},
        "refused_times": {"p50_ms": percentile_ms(refused, 0.5), "p99_ms": percentile_ms(refused, 0.99)},
    }


def within(answers: Iterable[Answer], begin: float, end: float) -> list[Answer]:
    """Those that were due in this time."""
    return [answer for answer in answers if begin <= answer.at < end]


def series(answers: Sequence[Answer], end: float) -> list[dict[str, Any]]:
    """A row for each step of time, by when requests were due; rates are per second."""
    begins = [index * STEP for index in range(math.ceil(end / STEP))]
    return [{"at": begin, **counts(within(answers, begin, begin + STEP), STEP)} for begin in begins]


def by_phase(answers: Sequence[Answer], phases: Phases) -> dict[str, Any]:
    """The numbers of each phase: the first without its beginning, the last without its first second."""
    parts = {
        "before": (phases.begin, phases.before),
        "over": (phases.before, phases.end_of_overload),
        "after": (phases.end_of_overload + min(NORMAL_SECONDS, phases.after / 2), phases.end),
    }
    return {name: counts(within(answers, begin, end), end - begin) for name, (begin, end) in parts.items()}


def goodput(answers: Iterable[Answer], phases: Phases) -> float:
    """Scores a second that arrived in time during the overload, whenever they were requested."""
    arrived = [one for one in answers if phases.before <= one.at + one.took < phases.end_of_overload]
    return sum(map(is_good, arrived)) / phases.over


def normal_after(answers: Sequence[Answer], phases: Phases) -> float | None:
    """Seconds from the overload's end to the first normal second; None where there is none.

    Normal: every request is scored, and the 99th percentile is within twice that of before.
    """
    usual = percentile_ms(within(answers, phases.begin, phases.before), 0.99)
    span = min(NORMAL_SECONDS, phases.after / 2)
    for index in range(int((phases.after - span) / STEP) + 1):
        begin = phases.end_of_overload + index * STEP
        found = within(answers, begin, begin + span)
        slowest = percentile_ms(found, 0.99)
        if usual and slowest and slowest <= NORMAL_TIMES * usual and all(map(is_good, found)):
            return index * STEP
    return None


def memory(samples: Sequence[Mapping[str, float]], phases: Phases) -> dict[str, float]:
    """The worker's memory before the overload, and how much more it had at most and at the end, in MB."""
    before = ([one["rss_mb"] for one in samples if one["at"] < phases.before] or [samples[0]["rss_mb"]])[-1]
    most, last = max(one["rss_mb"] for one in samples), samples[-1]["rss_mb"]
    more = {"most_more_mb": round(most - before, 1), "more_at_the_end_mb": round(last - before, 1)}
    return {"before_mb": round(before, 1), **more}
