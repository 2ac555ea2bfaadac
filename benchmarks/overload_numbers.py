"""What became of the requests of an overload, in numbers; pure arithmetic over the client's answers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.overload_client import Answer

# The width of the table's and the plot's steps, in seconds.
STEP = 0.25
# A service is back to normal when the 99th percentile of a second's answers is within so many times that of before.
NORMAL_TIMES, NORMAL_SECONDS = 2.0, 1.0
# At the beginning, connections are made and code is run for the first time, in seconds.
SETTLING = 1.0

_REFUSED = frozenset({429, 503})


@dataclass(frozen=True)
class Phases:
    """How long the load is normal, too much, and normal again, in seconds."""

    before: float
    over: float
    after: float

    @property
    def end_of_overload(self) -> float:
        return self.before + self.over

    @property
    def end(self) -> float:
        return self.before + self.over + self.after


def is_good(answer: Answer, in_time: float) -> bool:
    """Whether it is a score that came within ``in_time`` seconds."""
    return answer.status == 200 and answer.took <= in_time


def is_refusal(answer: Answer) -> bool:
    """Whether the gateway said, in good order, that it is too busy: 429 or 503 with ``Retry-After``."""
    return answer.status in _REFUSED and answer.retry_after


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that ``share`` of them do not exceed; None where there are none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)] if ranked else None


def times(answers: Iterable[Answer]) -> dict[str, float | None]:
    """The median and the 99th percentile of the answers' times, in milliseconds."""
    took = [answer.took for answer in answers]
    return {"p50_ms": _milliseconds(percentile(took, 0.5)), "p99_ms": _milliseconds(percentile(took, 0.99))}


def series(answers: Sequence[Answer], end: float, in_time: float) -> list[dict[str, Any]]:
    """A row for each step of time, by the moments at which requests were to be sent; rates are per second."""
    steps: list[list[Answer]] = [[] for _ in range(math.ceil(end / STEP))]
    for answer in answers:
        steps[int(answer.at / STEP)].append(answer)
    return [{"at": index * STEP, **counts(step, STEP, in_time)} for index, step in enumerate(steps)]


def counts(answers: Sequence[Answer], seconds: float, in_time: float) -> dict[str, Any]:
    """How many a second were offered, scored in time, refused and lost otherwise, and how long the first two took."""
    good = [answer for answer in answers if is_good(answer, in_time)]
    refused = [answer for answer in answers if is_refusal(answer)]
    return {
        "offered": round(len(answers) / seconds, 1),
        "good": round(len(good) / seconds, 1),
        "refused": round(len(refused) / seconds, 1),
        "other": round((len(answers) - len(good) - len(refused)) / seconds, 1),
        "good_times": times(good),
        "refused_times": times(refused),
    }


def within(answers: Iterable[Answer], begin: float, end: float) -> list[Answer]:
    """Those that were to be sent in this time."""
    return [answer for answer in answers if begin <= answer.at < end]


def phases_told(answers: Sequence[Answer], phases: Phases, in_time: float) -> dict[str, Any]:
    """The numbers of each phase: the first without its beginning, the last without its first second."""
    parts = {
        "before": (min(SETTLING, phases.before / 2), phases.before),
        "over": (phases.before, phases.end_of_overload),
        "after": (phases.end_of_overload + min(NORMAL_SECONDS, phases.after / 2), phases.end),
    }
    return {name: counts(within(answers, begin, end), end - begin, in_time) for name, (begin, end) in parts.items()}


def goodput(answers: Iterable[Answer], phases: Phases, in_time: float) -> float:
    """Scores a second that arrived in time during the overload, whenever they were asked for."""
    arrived = [one for one in answers if phases.before <= one.at + one.took < phases.end_of_overload]
    return sum(is_good(one, in_time) for one in arrived) / phases.over


def normal_after(answers: Sequence[Answer], phases: Phases, in_time: float) -> float | None:
    """Seconds from the overload's end to the first moment after which all is normal; None where that never comes.

    Normal is a second in which every request is scored, and the 99th percentile is within twice that of before.
    """
    usual = percentile((one.took for one in within(answers, min(SETTLING, phases.before / 2), phases.before)), 0.99)
    span = min(NORMAL_SECONDS, phases.after / 2)
    for index in range(int((phases.after - span) / STEP) + 1):
        begin = phases.end_of_overload + index * STEP
        found = within(answers, begin, begin + span)
        slowest = percentile((one.took for one in found), 0.99)
        all_good = all(is_good(one, in_time) for one in found)
        if all_good and usual is not None and slowest is not None and slowest <= NORMAL_TIMES * usual:
            return index * STEP
    return None


def memory(samples: Sequence[Mapping[str, float]], phases: Phases) -> dict[str, float]:
    """How much more the worker held at the most, and at the end, than before the overload, in MB."""
    before = [one["rss_mb"] for one in samples if one["at"] < phases.before] or [samples[0]["rss_mb"]]
    return {
        "before_mb": round(before[-1], 1),
        "most_more_mb": round(max(one["rss_mb"] for one in samples) - before[-1], 1),
        "more_at_the_end_mb": round(samples[-1]["rss_mb"] - before[-1], 1),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)
