"""Measure on the local stack what the simulations say, and put the tables into ``docs/scale.md``; about ten minutes."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from benchmarks.harness.command import exit_code
from benchmarks.harness.description import machine
from benchmarks.harness.markdown import percent
from benchmarks.harness.testbed import Testbed, run
from benchmarks.scale.__main__ import PAGE
from benchmarks.scale.check import admission, in_turn, split
from benchmarks.scale.check.spread import RUNS
from benchmarks.scale.check.stack import Length, OtherPrograms
from benchmarks.scale.pages import Kind, captioned, filled

QUESTIONS = ("in-turn", "admission", "split")


class Plan(NamedTuple):
    """What is measured for each question, and how long."""

    in_turn: tuple[Length, Sequence[in_turn.Case]]
    admission: tuple[Length, Sequence[admission.Case]]
    split: Mapping[split.Case, split.Times]


FULL = Plan(
    (Length(45.0), in_turn.CASES),
    (Length(30.0, 10.0), admission.CASES),
    {case: split.Times(10.0, 10.0, 72.0 if case is split.KILLED else 10.0) for case in split.CASES},
)
QUICK = Plan(
    (Length(0.3, alone=3), in_turn.CASES[:1]),
    (Length(0.6, 0.1, alone=3), admission.CASES[2:3]),
    {split.RESTARTED: split.Times(0.5, 0.0, 0.5)},
)


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
    plan = QUICK if options.quick else FULL
    for question in options.questions or QUESTIONS:
        tables = run(partial(measured, question=question, plan=plan))
        for name, table in tables.items():
            print(f"{name}\n\n{table}\n", flush=True)
        if not (options.dry_run or options.quick):
            PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


async def measured(testbed: Testbed, question: str, plan: Plan) -> Mapping[str, str]:
    """The tables of a question, by their names in the page."""
    settings = testbed.settings(await testbed.start_services())
    others = OtherPrograms()
    found: Mapping[str, str]
    match question:
        case "in-turn":
            found = {"check-in-turn": await in_turn.measure(testbed, settings, *plan.in_turn)}
        case "admission":
            found = {"check-admission": await admission.measure(testbed, settings, *plan.admission)}
        case _:
            failures, shares = await split.measure(testbed, settings, plan.split)
            found = {"check-split": failures, "check-split-shares": shares}
    about, share = machine(), percent(others.share())
    where = (
        f"on {about['cores']} processors ({about['processor']}) on {datetime.now(UTC):%Y-%m-%d}; other programs used "
        f"{share} of them"
    )
    note = f". Simulated: the median of {RUNS} runs as long (lowest to highest)"
    return {
        name: captioned(table, Kind.MEASURED, where + (note if "simulated" in table else ""))
        for name, table in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
