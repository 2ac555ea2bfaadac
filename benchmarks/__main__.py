"""``python -m benchmarks``, or ``make bench``: measure everything, and write the results and docs/performance.md.

Each part is a process of its own, one after the other, with nothing else running. ``--page`` writes the page and its
plots again from results that are there.
"""

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import bars, description, environments, page
from benchmarks.contestants import CONTESTANTS
from benchmarks.sections import SECTIONS
from devstack.supervisor import StackFailed

RESULTS, PAGE, PLOTS = Path("benchmarks/results.json"), Path("docs/performance.md"), Path("docs/performance")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write; returns the exit code."""
    options = _parse(arguments)
    folder: Path = options.out or (environments.FOLDER / "quick" if options.quick else environments.ROOT)
    try:
        if not options.page:
            _prepare(options.peers)
            measured = _measure(options)
            _write_results(_results(measured, quick=options.quick), folder / RESULTS)
        return _write_page(folder)
    except (environments.EnvironmentFailed, StackFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the gateway beside its peers.")
    add = parser.add_argument
    names = [each.name for each in CONTESTANTS]
    add("--quick", action="store_true", help="a look of a minute or two, written to .bench/quick")
    add("--only", nargs="+", default=list(SECTIONS), choices=list(SECTIONS), metavar="PART", help="parts to measure")
    add("--peers", nargs="+", default=names, choices=names, metavar="NAME", help="who takes part (default: all)")
    add("--out", type=Path, metavar="DIR", help="where to write (default: the project)")
    add("--page", action="store_true", help="measure nothing: write the page from the results that are there")
    return parser.parse_args(arguments)


def _prepare(peers: Sequence[str]) -> None:
    """Make the peers' environments before anything is measured."""
    for each in CONTESTANTS:
        if each.environment and each.name in peers:
            environments.python(each.environment)


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    measured = {}
    for name in options.only:
        if not SECTIONS[name].exists():
            print(f"{name}: not there yet, left out", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr)
        measured[name] = _section(name, options)
    return measured


def _section(name: str, options: argparse.Namespace) -> Any:
    """What one part measured, in a process of its own.

    Raises:
        StackFailed: it did not get to its end.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        out = Path(folder, "measured.json")
        quick = ["--quick"] if options.quick else []
        # It ends with this process, however that ends. A terminal's Ctrl-C reaches it too: it gets the time to end what
        # it has started.
        tethered = [sys.executable, "-m", "devstack.tethered", "benchmarks.sections"]
        command = [*tethered, name, "--out", str(out), *quick]
        with subprocess.Popen(  # noqa: S603 - our own module
            [*command, "--peers", *options.peers], cwd=environments.ROOT, stdin=subprocess.PIPE
        ) as process:
            code = process.wait()
        if code:
            raise StackFailed(f"The part {name} failed (exit code {code}); see above.")
        return json.loads(out.read_bytes())


def _results(measured: Mapping[str, Any], *, quick: bool) -> dict[str, Any]:
    ratios = {name: value for data in measured.values() for name, value in data["ratios"].items()}
    return {
        "when": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "machine": description.machine(),
        "versions": description.versions(),
        "ratios": {name: ratios[name] for name in bars.BARS if name in ratios},
        "sections": measured,
    }


def _write_results(results: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(results), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Floats to six digits: what is beyond is noise, and fills the file."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value


def _write_page(folder: Path) -> int:
    try:
        results = json.loads((folder / RESULTS).read_bytes())
    except FileNotFoundError:
        print(f"there are no results in {folder}: measure first, without --page", file=sys.stderr)
        return 1
    page.write(results, folder / PAGE)
    try:
        page.draw(results, folder / PLOTS)
    except ImportError as error:
        print(f"the plots were not drawn ({error}): run `make bench`, which installs what draws them", file=sys.stderr)
    for name, value in results["ratios"].items():
        print(f"{name:<34}{bars.BARS[name].written(value):>12}  {bars.BARS[name].verdict(value)}")
    print(f"\n{folder / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
