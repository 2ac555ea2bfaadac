"""The cold start: tables, and time lines."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cold_start.measure import LATER, PACKAGES, VAULT_SECONDS
from benchmarks.harness.markdown import number, table
from benchmarks.harness.noise import LIMIT
from benchmarks.harness.plots import BLUE, GREEN, GREY, ORANGE, figure, simplify

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"Python": GREY, "Microsoft": ORANGE, "gateway": BLUE, "event loop": BLUE, "thread": GREEN}

_TEXT = """\
## The cold start

A fresh process {samples} times, from the moment before it is started (`CLOCK_MONOTONIC`, which processes share) to the
first scored answer, as a worker in Azure starts: Microsoft's worker library is imported, the app is indexed, and
`score` is invoked natively with a JPEG of 20 KB. The worker has one processor; the identity endpoint, Key Vault and the
inference service (TLS, keys, an engine that takes no time) are processes on the other one, on loopback. `.pyc` files
exist already, and the system has the files in memory: a new machine in Azure also has to fetch them. Other processes
used at most {others:.0%} of the machine; {rejected} rounds in which they used more (and more than {limit:.0%}) were
rejected. Medians, in milliseconds.

{steps_table}

Indexed after **{ratios[cold_indexed_ms]:.0f} ms** (at worst {worst[cold_indexed_ms]:.0f}), the first score after
**{ratios[cold_first_score_ms]:.0f} ms** (at worst {worst[cold_first_score_ms]:.0f}). While Key Vault takes
{vault_ms:.0f} ms for each secret, which are read at the same time, the first score is after
**{ratios[cold_slow_vault_ms]:.0f} ms**. For comparison, in the same rounds: `python -c pass` takes {bare_ms:.1f} ms
from start to end, and a process that only imports what no gateway could do without takes **{packages_ms:.0f} ms**:
{packages}.

![What runs when](performance/cold-start.svg)

Where the warm-up trigger runs before the first request, it takes {warmed[warm_up_ms]:.0f} ms, and the first client
waits {warmed[first_request_ms]:.1f} ms. Where there is none, but the first request comes {later_ms:.0f} ms after the
app was indexed, as the host takes to start, it takes **{later_first_request_ms:.0f} ms**: the gateway imports meanwhile
what a score needs.

The first request in other processes of the same rounds, whose functions the interpreter reports (which slows them
down: their first score comes after {observed_first_score_ms:.0f} ms). Concurrent parts overlap; an import includes all
that it imports:

{parts_table}

The packages whose modules take longest to import (`-X importtime`, one process; each package without those that it
imports):

{imports_table}
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    steps = [
        [one["name"], one["code"], number(one["milliseconds"], 1), number(one["until"], 1)] for one in data["steps"]
    ]
    parts = [
        [one["name"], one["thread"], *(number(at, 1) for at in (one["begin"], one["end"], one["end"] - one["begin"]))]
        for one in data["first_request"]
    ]
    imports = [
        [*_package(before), *_package(after)]
        for before, after in zip_longest(data["imports"]["until_indexed"], data["imports"]["first_request"])
    ]
    return _TEXT.format(
        **data,
        limit=LIMIT,
        vault_ms=1000 * VAULT_SECONDS,
        later_ms=1000 * LATER,
        packages=", ".join(f"`{one}`" for one in PACKAGES),
        steps_table=table(["part", "code", "ms", "since the start"], steps, left=2),
        parts_table=table(["part", "where", "begins", "ends", "ms"], parts, left=2),
        imports_table=table(["until indexed", "modules", "ms", "in the first request", "modules", "ms"], imports),
    )


def _package(row: Mapping[str, Any] | None) -> list[str]:
    return [row["package"], str(row["modules"]), number(row["milliseconds"], 1)] if row else [""] * 3


def plot(data: Mapping[str, Any], folder: Path) -> None:
    """Draw two time lines: the start, and the first request with its parts."""
    file, parts = folder / "cold-start.svg", data["first_request"]
    requested = data["steps"][-2]["until"]
    start = [
        (one["name"].partition(":")[0], one["until"] - one["milliseconds"], one["until"], one["code"])
        for one in data["steps"]
    ]
    first = [(one["name"], requested + one["begin"], requested + one["end"], one["thread"]) for one in parts]
    with figure(file, 7.5, 2.2 + 0.26 * len(parts)) as drawn:
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[len(start), max(1, len(parts))])
        _draw(above, "A cold start", start)
        _draw(below, "Within the first request, observed", first)
        below.set_xlabel("milliseconds since the process was started")


def _draw(axes: "Axes", title: str, rows: Sequence[tuple[str, float, float, str]]) -> None:
    names, begins, ends, kinds = zip(*rows, strict=True) if rows else ((), (), (), ())
    labels = [f"{name} ({kind})" for name, kind in zip(names, kinds, strict=True)]
    widths = [end - begin for begin, end in zip(begins, ends, strict=True)]
    bars = axes.barh(range(len(rows)), widths, left=begins, color=[_COLOURS[kind] for kind in kinds], height=0.7)
    axes.bar_label(bars, [f"{width:.0f}" if width >= 10 else f"{width:.1f}" for width in widths], padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontweight="bold")
    simplify(axes, grid="x")
