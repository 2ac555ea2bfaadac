"""The overload's numbers in words."""

from collections.abc import Mapping
from typing import Any

_PHASES = {"before": "60 % of the capacity", "over": "twice the capacity", "after": "60 % again"}


def text(data: Mapping[str, Any]) -> str:
    """A section of Markdown."""
    ratios, memory, seconds = data["ratios"], data["memory"], data["seconds"]
    recovered = data["normal_after_seconds"]
    lines = [
        "## Overload",
        "",
        (
            "The gateway over HTTP in the local Functions host, one worker on a processor of its own; the client and a"
            " service that scores one image at a time in 1.8 ms share the other one. Requests (a JPEG of 20 KB)"
            " come in an"
            " open loop: at random times (Poisson, seeded) that do not depend on answers, as people come; a"
            " request's time"
            " counts from the moment at which it was to be sent. No request sets a deadline, so the service's"
            " default, ten"
            " seconds, holds. The capacity is what the service scored when it was called directly, without a pause:"
            f" {data['capacity']:.0f} images a second in this run. Other processes used {data['others']:.0%} of"
            " the machine"
            f" (the calmest of {data['runs']} {'run' if data['runs'] == 1 else 'runs'})."
        ),
        "",
        "| load | seconds | offered/s | scored in time/s | p50 ms | p99 ms | refused/s | p50 ms | p99 ms | lost/s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        *(_row(name, seconds[key], data["phases"][key]) for key, name in _PHASES.items()),
        "",
        (
            f"At twice the capacity {data['goodput']:.0f} scores a second arrive in time:"
            f" **{ratios['overload_goodput']:.1%} of the capacity**. {_refusals(ratios['overload_refusal_p50_ms'])}"
            f" {_recovery(recovered)} The worker held {memory['before_mb']:.0f} MB before,"
            f" {_more(memory['most_more_mb'])}"
            f" at the most, and {_more(memory['more_at_the_end_mb'])} at the end."
        ),
        "",
        (
            "**A service that hangs beside one that is well.** The quick one at 60 % of its capacity, by itself,"
            " and while"
            f" the other takes {data['beside']['hanging']['offered']:.0f} requests a second and answers none:"
        ),
        "",
        "| quick service | scored in time/s | p50 ms | p99 ms | refused/s | lost/s |",
        "|---|--:|--:|--:|--:|--:|",
        *(_beside(name, data["beside"][key]) for name, key in (("by itself", "alone"), ("beside it", "beside"))),
        "",
        (
            f"Of the hanging one's requests {data['beside']['hanging']['refused']:.0f} a second are refused at once"
            f" (median {_number(data['beside']['hanging']['refused_times']['p50_ms'])} ms), the rest at their deadline."
        ),
        "",
        (
            "**Clients that go away.** Some 64 clients of a service that hangs leave after 0.2 s, without their"
            " answer. Then"
            " the service is well again, and a new client asks until it gets a score:"
        ),
        "",
        "| deadline of those who left | scored after | refused before |",
        "|---|--:|--:|",
        *(_leaving(row) for row in data["leaving"]),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, seconds: float, row: Mapping[str, Any]) -> str:
    good, refused = row["good_times"], row["refused_times"]
    return (
        f"| {name} | {seconds:g} | {row['offered']:.0f} | {row['good']:.0f} | {_number(good['p50_ms'])} |"
        f" {_number(good['p99_ms'])} | {row['refused']:.0f} | {_number(refused['p50_ms'])} |"
        f" {_number(refused['p99_ms'])} | {row['other']:.1f} |"
    )


def _beside(name: str, row: Mapping[str, Any]) -> str:
    good = row["good_times"]
    return (
        f"| {name} | {row['good']:.0f} | {_number(good['p50_ms'])} | {_number(good['p99_ms'])} |"
        f" {row['refused']:.1f} | {row['other']:.1f} |"
    )


def _leaving(row: Mapping[str, Any]) -> str:
    after = row["scored_after_seconds"]
    return f"| {row['deadline_seconds']:g} s | {'never' if after is None else f'{after:.2f} s'} | {row['refused']} |"


def _refusals(p50: float | None) -> str:
    if p50 is None:
        return "None is refused."
    return f"A refusal (429 or 503 with `Retry-After`) takes **{p50:.1f} ms** in the median."


def _recovery(seconds: float | None) -> str:
    if seconds is None:
        return "After it, things did not become normal again."
    return f"All is normal {seconds:.2f} s after it: every request is scored, and the p99 within twice that of before."


def _more(megabytes: float) -> str:
    return f"{megabytes:.1f} MB more" if megabytes >= 0 else f"{-megabytes:.1f} MB less"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
