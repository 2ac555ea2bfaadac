"""docs/performance.md: made of what was measured, by the program that measured it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import bars, description
from benchmarks.contestants import CONTESTANTS
from benchmarks.quiet import QUIET, TRIES
from benchmarks.sections import SECTIONS

_INTRODUCTION = """\
What the gateway costs, measured beside the alternatives on one machine. `make bench` runs everything again and writes
this page, its plots and `benchmarks/results.json`; figures move between machines and between runs, so what counts are
the ratios: each compares medians that were taken in turn, in one run."""

_HOW = """\
Everything runs on loopback. The server that is measured has processor {one} to itself; the load client and all that the
server talks to are on {rest}. The service is the local stack's: gRPC over TLS with a key, and a simulated engine,
which answers deterministically from a checksum of the image, so that every answer can be checked. Where the engine
takes no time, it stands behind a server that costs a third of gRPC's in Python (`benchmarks/quick_service.py`) and
looks at no key, though it is sent one: or else the service would be the limit, and all would look alike. Everybody
talks to the same service, and is sent the same files.

Contestants take turns: a slice of load on one (some tenths of a second to some seconds), then on the next, many rounds,
each beginning with another. Figures are medians over the slices; p99 is over all requests. The load is closed: so many
requests are under way, and each answer is followed by the next request. The HTTP client is a lean one of its own
(epoll, requests made beforehand). Who is missing from a table cannot do that work, or not in a time to wait for.

A slice during which other programs used more than {quiet} of the machine is rejected and taken again, up to {tries}
times (and not more often in all than there are half as many slices); then the quietest try stays. In this run, of
{slices} slices and batches {again} tries were rejected, and {noisy} slices stayed noisy. A slice in which a peer
answered an error is begun anew ({failed} in this run); an error of the gateway's ends the run.

The interpreter counts for much: more than half of a request's processor time is spent in it. The committed figures are
from Debian's build of CPython, with profile-guided optimization, as distributions have it. pyenv builds without unless
it is told otherwise: on the same machine such a one takes 1.4 to 1.6 times as long for the same Python code, and Envoy
as long as ever. There the gateway made 1.1 times Envoy's requests a second instead of 1.5, 3.6 times LitServe's, 4.4
times BentoML's, added 0.30 ms natively, and was 40 % later with its first score.

Set up as somebody who knows them would, each with one worker, TLS and the key towards the service:"""


def write(results: Mapping[str, Any], file: Path) -> None:
    """Write the page for these results."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(_page(results)).rstrip() + "\n", encoding="utf-8")


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the plots of every section that was measured.

    Raises:
        ImportError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, data in results["sections"].items():
        files += SECTIONS[name].load().plot(data, folder)
    return files


def _page(results: Mapping[str, Any]) -> list[str]:
    ratios, lost = results["ratios"], bars.missed(results["ratios"])
    lines = [
        "# Performance",
        "",
        _INTRODUCTION,
        "",
        f"Taken on {results['when']}. {description.lines(results['machine'])}",
        "",
        "## Targets",
        "",
        *bars.table(ratios),
        "",
        *_quick_note(results),
        *(["What was missed:", "", *lost] if lost else ["Every bar was reached."]),
        "",
        *_how(results),
    ]
    for name, data in results["sections"].items():
        lines += [SECTIONS[name].load().report(data).rstrip(), ""]
    return [*lines, "## Versions", "", description.lines(results["versions"])]


def _quick_note(results: Mapping[str, Any]) -> list[str]:
    if not results["quick"]:
        return []
    return ["This was a quick look (`--quick`): too short for figures to rely on.", ""]


def _how(results: Mapping[str, Any]) -> list[str]:
    slices, again, noisy, failed = _counted(results["sections"].values())
    told = _HOW.format(
        one=results["machine"]["measured on processor"],
        rest=results["machine"]["load client and services on"],
        quiet=f"{QUIET:.0%}",
        tries=TRIES - 1,
        slices=f"{slices:,}",
        again=f"{again:,}",
        noisy=f"{noisy:,}",
        failed=failed,
    )
    return ["## How it was measured", "", told, "", *(f"- **{each.title}**: {each.setup}" for each in CONTESTANTS), ""]


def _counted(sections: Iterable[Any]) -> tuple[int, int, int, int]:
    """Slices, rejected tries, slices that stayed noisy, and those that failed, wherever a summary tells of them."""
    slices = again = noisy = failed = 0
    for row in _summaries(list(sections)):
        slices += int(row.get("slices", 1))
        again += int(row["tried_again"])
        noisy += int(row["noisy"])
        failed += int(row.get("failed", 0))
    return slices, again, noisy, failed


def _summaries(found: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(found, Mapping):
        if "tried_again" in found:
            yield found
        else:
            yield from _summaries(list(found.values()))
    elif isinstance(found, list):
        for each in found:
            yield from _summaries(each)
