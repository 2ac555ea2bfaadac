"""``python -m benchmarks``, or ``make bench``: measure everything, and write the results and docs/performance.md.

Each section is measured by a process of its own, one after the other, while nothing else runs; then all of them again,
so that each target has the spread of several runs. ``--page`` writes the page and its plots from existing results.
"""

import argparse
import datetime as dt
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.comparison.systems import SYSTEMS
from benchmarks.harness import description
from benchmarks.harness.command import at_least, exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.paths import ROOT, SCRATCH
from benchmarks.peers import environments
from benchmarks.runs import merged, spread
from benchmarks.sections import SECTIONS
from benchmarks.targets import TARGETS

RESULTS, PAGE, PLOTS = Path("benchmarks/results.json"), Path("docs/performance.md"), Path("docs/performance")
RUNS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write; returns the exit code."""
    options = _parse(arguments)
    return exit_code(lambda: _measure_here(options) if options.result else _run(options))


def _run(options: argparse.Namespace) -> None:
    complete = not options.quick and set(options.only) == set(SECTIONS)
    folder: Path = options.out or (ROOT if complete else SCRATCH / "part")
    if not options.page:
        for system in SYSTEMS:
            if system.environment and system.name in options.systems:
                environments.python(system.environment)
        results = _results(_runs(options), quick=options.quick)
        if options.add:
            folder = ROOT
            results = added(json.loads((ROOT / RESULTS).read_bytes()), results)
        _write_results(results, folder / RESULTS)
    _write_page(folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare the gateway with its peers.")
    add, names = parser.add_argument, [each.name for each in SYSTEMS]
    add("--quick", action="store_true", help="short slices: a check that everything works, in a minute or two")
    add("--runs", type=at_least(1), metavar="N", help=f"of every section (default: {RUNS}, or 1 with --quick)")
    add("--only", nargs="+", default=list(SECTIONS), choices=list(SECTIONS), metavar="SECTION", help="what to measure")
    add("--systems", nargs="+", default=names, choices=names, metavar="NAME", help="what to compare (default: all)")
    add("--out", type=Path, metavar="DIR", help="where to write (default: the project, or .bench/part if incomplete)")
    add("--add", action="store_true", help="add these sections to the project's results, with a date of their own")
    add("--page", action="store_true", help="measure nothing: write the page from existing results")
    add("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _runs(options: argparse.Namespace) -> dict[str, Any]:
    """Each section's result: the median of its runs, which are taken in turn with those of the others."""
    taken: dict[str, list[Any]] = {name: [] for name in options.only}
    for _ in range(options.runs or (1 if options.quick else RUNS)):
        for name, runs in taken.items():
            runs.append(_measure(name, options))
    return {name: {**merged(runs), "runs": len(runs), "spread": spread(runs)} for name, runs in taken.items()}


def _measure(name: str, options: argparse.Namespace) -> Any:
    """Measure one section in a process of its own; returns its result.

    Raises:
        BenchmarkFailed: it failed.
    """
    print(f"{name} ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        result = Path(folder, "result.json")
        # It ends with this process, however that ends. A terminal's Ctrl-C reaches it too: it gets the time to end what
        # it has started.
        command = [sys.executable, "-m", "devstack.tethered", "benchmarks", "--only", name, "--result", str(result)]
        command += [*(["--quick"] if options.quick else []), "--systems", *options.systems]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own module
            code = process.wait()
        if code:
            raise BenchmarkFailed(f"The section {name} failed (exit code {code}); see above.")
        return json.loads(result.read_bytes())


def _measure_here(options: argparse.Namespace) -> None:
    """Measure one section in this process, which SIGTERM interrupts as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    measured = SECTIONS[options.only[0]].measure(options.systems, quick=options.quick)
    options.result.write_text(json.dumps(measured))


def _results(measured: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    ratios, spreads = (
        {name: value for data in measured.values() for name, value in data[what].items()}
        for what in ("ratios", "spread")
    )
    return {
        "when": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "machine": description.machine(),
        "versions": description.versions(),
        "ratios": {name: ratios[name] for name in TARGETS if name in ratios},
        "spread": {name: spreads[name] for name in TARGETS if name in spreads},
        "sections": measured,
    }


def added(before: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Earlier results with those of some sections, each of which says when and where it was measured."""
    taken = {name: results[name] for name in ("when", "machine")}
    sections = {**before["sections"], **{name: {**data, "taken": taken} for name, data in results["sections"].items()}}
    values = {what: {**before[what], **results[what]} for what in ("ratios", "spread")}
    return {
        **before,
        **{what: {name: one[name] for name in TARGETS if name in one} for what, one in values.items()},
        "sections": {name: sections[name] for name in SECTIONS if name in sections},
    }


def _write_results(results: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Further digits are noise, and fill the file.
    rounded = json.loads(json.dumps(results), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    file.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")


def _write_page(folder: Path) -> None:
    try:
        results = json.loads((folder / RESULTS).read_bytes())
    except FileNotFoundError:
        raise BenchmarkFailed(f"There are no results in {folder}: measure first, without --page") from None
    page.write(results, folder / PAGE)
    try:
        page.draw(results, folder / PLOTS)
    except ImportError as error:
        print(f"The plots were not drawn ({error}): run `make bench`, which installs matplotlib", file=sys.stderr)
    for name, value in results["ratios"].items():
        target = TARGETS[name]
        between = target.spread(results["spread"][name])
        print(f"{name:<34}{target.written(value):>12}  {between:<19}{target.verdict(value)}")
    print(f"\n{folder / PAGE}")


if __name__ == "__main__":
    sys.exit(main())
