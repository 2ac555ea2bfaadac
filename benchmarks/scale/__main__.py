"""Run the simulations, print their tables, and put tables and charts into ``docs/scale.md``."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.scale.figures import balancing, connections, limits, pins, vault
from benchmarks.scale.pages import Figures, MissingPlace, filled

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
QUESTIONS: Mapping[str, Callable[[], Figures]] = {
    "connections": connections.figures,
    "balancing": balancing.figures,
    "limits": limits.figures,
    "vault": vault.figures,
    "pins": pins.figures,
}


def main() -> None:
    """Answer all questions, or some."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"some of: {', '.join(QUESTIONS)}; or all")
    parser.add_argument("--dry-run", action="store_true", help="print the tables, and write nothing")
    options = parser.parse_args()
    if unknown := [name for name in options.questions if name not in QUESTIONS]:
        parser.error(f"unknown question {unknown[0]!r}; there are {', '.join(QUESTIONS)}")
    names = options.questions or list(QUESTIONS)
    # Each question in a process of its own: they have nothing to do with each other, and last a while.
    with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1)) as processes:
        for found in processes.map(answer, names):
            for table in found.tables:
                print(f"{table.name}\n\n{table.markdown()}\n", flush=True)
            if not options.dry_run:
                _write(found)


def answer(name: str) -> Figures:
    """The answer to one question."""
    return QUESTIONS[name]()


def _write(found: Figures) -> None:
    folder = PAGE.with_suffix("")
    try:
        page = filled(PAGE.read_text(encoding="utf-8"), found.tables)
    except (OSError, MissingPlace) as error:
        sys.exit(f"{PAGE.name} cannot be filled: {error}")
    PAGE.write_text(page, encoding="utf-8")
    folder.mkdir(exist_ok=True)
    for chart in found.charts:
        (folder / f"{chart.name}.svg").write_text(chart.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
