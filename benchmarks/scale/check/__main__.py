"""Measure on the local stack what the simulations say, and put the tables into ``docs/scale.md``; about ten minutes."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from benchmarks.harness.command import exit_code
from benchmarks.harness.description import machine
from benchmarks.harness.testbed import Testbed, run
from benchmarks.scale.__main__ import PAGE
from benchmarks.scale.check import admission, in_turn, split
from benchmarks.scale.check.spread import RUNS
from benchmarks.scale.check.stack import Length, OtherPrograms
from benchmarks.scale.pages import Kind, captioned, filled

QUESTIONS = ("in-turn", "admission", "split")


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer all questions, or some; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.check", description=__doc__)
    add = parser.add_argument
    what = f"some of {', '.join(QUESTIONS)}, or all"
    add("questions", nargs="*", metavar="QUESTION", choices=QUESTIONS, help=what)
    add("--dry-run", action="store_true", help="print the tables, and write nothing")
    add("--quick", action="store_true", help="some cases, for a moment each: whether it works; writes nothing")
    options = parser.parse_args(arguments)
    return exit_code(lambda: answer(options))


def answer(options: argparse.Namespace) -> None:
    """Answer the questions that the options name.

    Raises:
        StackFailed: the local stack cannot be started. BenchmarkFailed: an image was not scored.
    """
    for question in options.questions or QUESTIONS:
        tables = run(lambda testbed, question=question: measured(testbed, question, quick=options.quick))
        for name, table in tables.items():
            print(f"{name}\n\n{table}\n", flush=True)
        if not (options.dry_run or options.quick):
            PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


async def measured(testbed: Testbed, question: str, *, quick: bool) -> Mapping[str, str]:
    """The tables of a question, by their names in the page."""
    settings = testbed.settings(await testbed.start_services())
    others = OtherPrograms()
    match question:
        case "in-turn":
            cases = in_turn.CASES[:1] if quick else in_turn.CASES
            found: Mapping[str, str] = {
                "check-in-turn": await in_turn.measure(
                    testbed, settings, Length(0.3, alone=3) if quick else Length(45.0), cases
                )
            }
        case "admission":
            length = Length(0.6, 0.1, alone=3) if quick else Length(30.0, 10.0)
            rows = admission.CASES[2:3] if quick else admission.CASES
            found = {"check-admission": await admission.measure(testbed, settings, length, rows)}
        case _:
            found = await _split(testbed, settings, quick=quick)
    about = machine()
    where = (
        f"on {about['cores']} cores ({about['processor']}), {datetime.now(UTC):%Y-%m-%d}; other programs used "
        f"{others.share():.0%} of them"
    )
    note = f"columns that say so are simulated: the median of {RUNS} runs as long (lowest to highest)"
    return {
        name: captioned(table, Kind.MEASURED, where if name.startswith("check-split") else f"{where}; {note}")
        for name, table in found.items()
    }


async def _split(testbed: Testbed, settings: Mapping[str, str], *, quick: bool) -> Mapping[str, str]:
    if quick:
        times, cases = {split.KILLED.split: split.Times(0.5, 0.0, 0.5)}, (split.KILLED._replace(back_at_once=True),)
    else:
        long, short = split.Times(10.0, 10.0, 72.0), split.Times(10.0, 10.0, 10.0)
        times = {case.split: long if case is split.KILLED else short for case in split.CASES}
        cases = split.CASES
    failures, shares = await split.measure(testbed, settings, times, cases)
    return {"check-split": failures, "check-split-shares": shares}


if __name__ == "__main__":
    sys.exit(main())
