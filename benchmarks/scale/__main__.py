"""Run the simulations, print their tables, and put tables and charts into ``docs/scale.md``."""

import argparse
import importlib
from concurrent.futures import ProcessPoolExecutor

from benchmarks.harness.paths import ROOT
from benchmarks.scale.pages import Figures, filled

PAGE = ROOT / "docs" / "scale.md"
QUESTIONS = ("connections", "balancing", "limits", "vault", "pins")


def main() -> None:
    """Answer all questions, or some."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    what = f"some of {', '.join(QUESTIONS)}, or all"
    parser.add_argument("questions", nargs="*", metavar="QUESTION", choices=QUESTIONS, help=what)
    parser.add_argument("--dry-run", action="store_true", help="print the tables, and write nothing")
    options = parser.parse_args()
    # Each question in a process of its own: they are independent, and take a while.
    with ProcessPoolExecutor() as processes:
        for found in processes.map(answer, options.questions or QUESTIONS):
            for name, table in found.tables.items():
                print(f"{name}\n\n{table}\n", flush=True)
            if not options.dry_run:
                PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), found.tables), encoding="utf-8")
                for chart in found.charts:
                    chart.draw(PAGE.with_suffix(""))


def answer(question: str) -> Figures:
    """The answer to one question."""
    figures: Figures = importlib.import_module(f"benchmarks.scale.figures.{question}").figures()
    return figures


if __name__ == "__main__":
    main()
