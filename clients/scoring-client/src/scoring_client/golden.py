"""``scoring-client golden record`` and ``golden check``: photographs whose scores are known, before a service."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scoring_client.files import SUFFIXES, Unreadable, read
from scoring_client.gateway import Gateway, NotScored, Target
from scoring_client.options import connection
from scoring_client.results import ALL_SCORED, SOME_FAILED, USAGE, Json, Stop, printable

FILE = "expected.json"

# The photographs that a gateway accepts in a folder.
_MAX_PHOTOGRAPHS = 32

_RECORD = """\
Score each photograph in FOLDER, and write the best label of each with its score to FOLDER/expected.json. That says what
the service makes of the photographs today; values from the training code say what it should make of them.
"""
_CHECK = """\
Let the gateway score the golden photographs that the service's setting GOLDEN names, print what deviates, and try the
likely causes. The exit code is 0 if all match, and 1 if not.
"""


@dataclass(frozen=True)
class Options:
    """What to do: record into ``folder``, or check where it is None."""

    target: Target
    folder: Path | None
    tolerance: float = 0.02
    overwrite: bool = False


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Read the command line after ``golden``; if it is invalid, print the reason and exit with 2."""
    parser = argparse.ArgumentParser(prog="scoring-client golden")
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="write expected.json", description=_RECORD)
    record.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of photographs")
    record.add_argument("--tolerance", type=_tolerance, default=0.02, help="for all of them (%(default)s)")
    record.add_argument("--overwrite", action="store_true", help="replace an expected.json")
    check = commands.add_parser("check", help="compare, and try the likely causes", description=_CHECK)
    for command in (record, check):
        command.add_argument("--url", help="the gateway (SCORING_URL, else http://localhost:7071)")
        command.add_argument("--key", help="its function key (SCORING_KEY)")
        command.add_argument("--service", default="", help="the inference service (the gateway's default)")
    given = parser.parse_args(arguments)
    try:
        url, service, key = connection(given.url, given.key, environ)
    except ValueError as error:
        parser.error(str(error))
    target = Target(url, key, given.service or service, timeout=200.0)
    if given.command == "check":
        return Options(target, None)
    return Options(replace(target, top=1, timeout=30.0), given.folder, given.tolerance, given.overwrite)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


async def run(options: Options) -> int:
    """Run the command; returns its exit code.

    Raises:
        Stop: it cannot be done.
    """
    async with Gateway(options.target) as gateway:
        try:
            if options.folder is not None:
                return await _record(gateway, options.folder, options)
            report = await gateway.check_golden()
        except NotScored as error:
            raise Stop(error.problem.sentence, SOME_FAILED) from None
    print("\n".join(map(printable, lines(report))))
    return ALL_SCORED if report.get("matches") is True else SOME_FAILED


async def _record(gateway: Gateway, folder: Path, options: Options) -> int:
    file = folder / FILE
    photographs = _photographs(folder)
    if file.exists() and not options.overwrite:
        raise Stop(f"{file} exists: add --overwrite to replace it", USAGE)
    found = {one.name: await _best(gateway, one) for one in photographs}
    document = {"tolerance": options.tolerance, "photographs": found}
    try:
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise Stop(f"{file} cannot be written: {error.strerror}", SOME_FAILED) from None
    print(f"{file}: {len(found)} photographs, as the service scores them now")
    return ALL_SCORED


async def _best(gateway: Gateway, file: Path) -> Json:
    try:
        answer = await gateway.score(read(str(file)))
    except (Unreadable, NotScored) as error:
        raise Stop(f"{file}: {error.problem.sentence}", SOME_FAILED) from None
    if not answer["labels"]:
        raise Stop(f"{file}: the service gives no label", SOME_FAILED)
    best = answer["labels"][0]
    return {"label": best["label"], "class": best.get("id"), "score": best["score"]}


def _photographs(folder: Path) -> list[Path]:
    try:
        found = sorted(one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
    except OSError as error:
        raise Stop(f"{folder} cannot be read: {error.strerror}", USAGE) from None
    if not 0 < len(found) <= _MAX_PHOTOGRAPHS:
        raise Stop(f"{folder} has {len(found)} photographs; 1 to {_MAX_PHOTOGRAPHS} are needed", USAGE)
    return found


def lines(report: Json) -> list[str]:
    """The report for people: the count, what deviates, and what explains it."""
    version = f" (model version {report['model_version']})" if "model_version" in report else ""
    found = [f"{report.get('service')}: golden: {report['golden']} match{version}"]
    deviating = [one for one in report["photographs"] if one.get("matches") is not True]
    found += [f"  {one.get('file')}: {one.get('deviation')}" for one in deviating]
    if not deviating:
        return found
    causes = report["causes"]
    explained = [f"matches with {one}" for one in causes.get("matches_with") or []]
    found += explained or [f"none of {causes.get('tried', 0)} combinations of likely causes explains it"]
    return [*found, causes["not_tried"]] if causes.get("not_tried") else found
