"""What a new instance's first client waits for: ``python -m benchmarks.cold``.

From the start of a process to the first scored answer, part by part. Each sample is a fresh process
(:mod:`benchmarks.cold_worker`), of several kinds in turn; see :func:`report` for what is told of them.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cold_samples import CALM, TRIES, Round, Start, Worker, heaviest, take
from benchmarks.cold_spans import PARTS
from benchmarks.machine import Load, Processors, pin
from benchmarks.rig import Bench, jpeg, part, result

COUNT, QUICK_COUNT = 15, 1
IMAGE_BYTES = 20_000

# The parts of a start, each from one moment to the next: what it is, and whose code.
STEPS = (
    ("begun", "interpreter", "Python"),
    ("library", "the worker library's import", "Microsoft"),
    ("importing", "the worker library's init: azure.functions and its bindings", "Microsoft"),
    ("imported", "the app's import (function_app)", "ours"),
    ("indexed", "the app indexed", "Microsoft"),
    ("answered", "the first request", "ours"),
)
# What is shorter is not told of imports in the first request, in milliseconds.
_WORTH_TELLING = 2.0


def measure(quick: bool) -> dict[str, Any]:
    """Take the samples.

    Raises:
        Invalid: a worker did not score. StackFailed: the local stack did not start.
    """
    before = Processors.split()
    try:
        return result(lambda bench: _measure(bench, quick=quick))
    finally:
        pin(before.measured | before.others)


async def _measure(bench: Bench, *, quick: bool) -> dict[str, Any]:
    processors = Processors.split()
    pin(processors.others)
    settings = bench.settings(await bench.start_services())
    worker = Worker(settings, _image(bench.options.folder), processors)
    worker.start()  # writes the .pyc files
    imports = heaviest(worker)
    rounds, rejected = take(
        worker, QUICK_COUNT if quick else COUNT, Load(bench.supervisor.pids().values()), 1 if quick else TRIES
    )
    return {**summary(rounds), "imports": imports, "rejected": rejected}


def _image(folder: Path) -> Path:
    file = folder / "image.jpg"
    file.write_bytes(jpeg(IMAGE_BYTES))
    return file


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """The medians of what was measured, in milliseconds."""
    plain, warmed = [one.plain for one in rounds], [one.warmed for one in rounds]
    return {
        "ratios": {"cold_indexed_ms": _at(plain, "indexed"), "cold_first_score_ms": _at(plain, "answered")},
        "samples": len(rounds),
        "others": max(one.others for one in rounds),
        "bare_ms": round(median(one.bare for one in rounds), 1),
        "steps": _steps(plain),
        "first_request": _first_request([one.probed for one in rounds]),
        "probed_first_score_ms": _at([one.probed for one in rounds], "answered"),
        "warmed": {
            "indexed_ms": _at(warmed, "indexed"),
            "warm_up_ms": _between(warmed, "warming", "warmed"),
            "first_request_ms": _between(warmed, "asked", "answered"),
        },
        "worst": {
            "cold_indexed_ms": round(max(one.moments["indexed"] for one in plain), 1),
            "cold_first_score_ms": round(max(one.moments["answered"] for one in plain), 1),
        },
    }


def _steps(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """Each part from the median moment at which the one before it ended, so that they add up."""
    steps, previous = [], 0.0
    for moment, name, whose in STEPS:
        until = _at(starts, moment)
        steps.append({"name": name, "whose": whose, "milliseconds": round(until - previous, 1), "until": until})
        previous = until
    return steps


def _first_request(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """The parts of the first request: when each began and ended, in milliseconds since the request came.

    What runs several times at once, as the reading of secrets, is told from the first beginning to the last end.
    """
    by_name: dict[str, list[tuple[float, float, str]]] = {}
    for start in starts:
        asked = start.moments["asked"]
        for name, spans in _grouped(start.spans).items():
            first, last = min(span[2] for span in spans), max(span[3] for span in spans)
            by_name.setdefault(name, []).append((first - asked, last - asked, spans[0][1]))
    parts: list[dict[str, Any]] = [
        {
            "name": name,
            "thread": "event loop" if found[0][2] == "MainThread" else "thread",
            "begin": round(median(each[0] for each in found), 1),
            "end": round(median(each[1] for each in found), 1),
        }
        for name, found in by_name.items()
        if 2 * len(found) >= len(starts)
    ]
    told = [part for part in parts if part["name"] in PARTS.values() or part["end"] - part["begin"] >= _WORTH_TELLING]
    return sorted(told, key=lambda part: float(part["begin"]))


def _grouped(spans: Iterable[Sequence[Any]]) -> Mapping[str, list[Sequence[Any]]]:
    groups: dict[str, list[Sequence[Any]]] = {}
    for span in spans:
        groups.setdefault(span[0], []).append(span)
    return groups


def _at(starts: Sequence[Start], moment: str) -> float:
    return round(median(start.moments[moment] for start in starts), 1)


def _between(starts: Sequence[Start], first: str, second: str) -> float:
    return round(median(start.moments[second] - start.moments[first] for start in starts), 1)


def report(data: Mapping[str, Any]) -> str:
    """A section of Markdown."""
    ratios, warmed, worst = data["ratios"], data["warmed"], data["worst"]
    lines = [
        "## The cold start",
        "",
        (
            f"A fresh process {data['samples']} times, from the moment before it is started (`CLOCK_MONOTONIC`, which"
            " processes share) to the first scored answer, as a worker in Azure starts: Microsoft's worker library is"
            " imported, the app is indexed, and `score` is invoked natively with a JPEG of 20 KB. The worker has one"
            " processor; the identity endpoint, Key Vault and the inference service (TLS, keys, an engine that takes no"
            " time) are other processes on loopback, on the other one. `.pyc` files are there already, and the"
            " system has"
            " the files in memory: a new machine in Azure also has to fetch them."
            f" Other processes used at most {data['others']:.0%} of the machine; {data['rejected']} rounds in"
            " which they used more"
            f" (and more than {CALM:.0%}) were rejected. Medians, in milliseconds."
        ),
        "",
        "| part | whose | ms | since the start |",
        "|---|---|--:|--:|",
        *(
            f"| {step['name']} | {step['whose']} | {step['milliseconds']:.1f} | {step['until']:.1f} |"
            for step in data["steps"]
        ),
        "",
        (
            f"Indexed after **{ratios['cold_indexed_ms']:.0f} ms** (at worst {worst['cold_indexed_ms']:.0f}), the first"
            f" score after **{ratios['cold_first_score_ms']:.0f} ms** (at worst {worst['cold_first_score_ms']:.0f})."
            f" For comparison, in the same rounds: `python -c pass` takes {data['bare_ms']:.1f} ms, start to end."
        ),
        "",
        (
            f"Where the warm-up trigger runs before the first request, it takes {warmed['warm_up_ms']:.0f} ms, and the"
            f" first client waits {warmed['first_request_ms']:.1f} ms."
        ),
        "",
        (
            "Within the first request, in other processes of the same rounds, watched by the interpreter (which"
            " slows them"
            f" down: their first score comes after {data['probed_first_score_ms']:.0f} ms). What runs side by side"
            " overlaps; an import is told with all that it imports:"
        ),
        "",
        "| part | where | begins | ends | ms |",
        "|---|---|--:|--:|--:|",
        *(
            f"| {part['name']} | {part['thread']} | {part['begin']:.1f} | {part['end']:.1f}"
            f" | {part['end'] - part['begin']:.1f} |"
            for part in data["first_request"]
        ),
        "",
        (
            "The packages whose modules take longest to import (`-X importtime`, one process; each package"
            " without what it"
            " imports in turn):"
        ),
        "",
        "| until indexed | modules | ms | in the first request | modules | ms |",
        "|---|--:|--:|---|--:|--:|",
        *_import_rows(data["imports"]),
    ]
    return "\n".join(lines) + "\n"


def _import_rows(imports: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterable[str]:
    columns = imports["until_indexed"], imports["first_request"]
    for at in range(max(map(len, columns))):
        cells = [_import_cells(rows[at]) if at < len(rows) else " | | " for rows in columns]
        yield f"| {cells[0]} | {cells[1]} |"


def _import_cells(row: Mapping[str, Any]) -> str:
    return f"{row['package']} | {row['modules']} | {row['milliseconds']:.1f}"


def plot(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the start and, below it, the first request: what runs when."""
    from benchmarks.cold_plot import draw  # noqa: PLC0415 - matplotlib, which only this needs

    return [draw(data, folder / "cold.svg")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    return part("benchmarks.cold", measure, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
