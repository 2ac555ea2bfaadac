"""docs/performance.md, written from the results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.comparison.systems import SYSTEMS
from benchmarks.harness import description
from benchmarks.harness.noise import ATTEMPTS, LIMIT
from benchmarks.sections import SECTIONS

_TEXT = """\
# Performance

Comparative benchmarks of the gateway and its alternatives, on one machine. `make bench` measures everything again and
writes this page, its plots and `benchmarks/results.json`; figures differ between machines and between runs, so the
ratios are what counts: each compares medians that were taken by turns, in one run. All sections are measured several
times, one after the other and then again: a figure is the median of the runs, and the targets have their spread too.

Taken on {when}, {runs}. {machine_text}

## Targets

{targets}

{verdict}

## How it was measured

Everything runs on loopback. The measured server has processor {one} to itself; the load client and everything that the
server talks to are on {rest}. The service is the local stack's: gRPC over TLS with a key, and a simulated engine, which
answers deterministically from a checksum of the image, so that every answer can be checked. Where the engine takes no
time, it is part of a server with a third of the cost of gRPC's in Python (`benchmarks/harness/fast_service.py`), which
gets the key but does not check it: otherwise the service would be the limit, with the same figures for all systems. All
systems use the same service, and are sent the same files.

The systems are measured by turns: a slice of load on one (some tenths of a second to some seconds), then on the next,
some rounds, each beginning with another one. A run's figures are medians over the slices; p99 is over all requests. The
load is closed: a fixed number of requests is under way, and each answer is followed by the next request. The HTTP
client is a lean one of the project (epoll, requests made beforehand). A system that is missing from a table does not
support that workload, or is too slow for it.

A slice during which other programs used more than {limit:.0%} of the machine is rejected and repeated, up to {retries}
times (and in all not more often than half the number of slices); then the least disturbed attempt counts. In this run,
of {slices:,} slices and batches {repeated:,} attempts were rejected, and {noisy:,} slices remained noisy. A slice in
which a peer answered with an error is repeated ({failed} in this run); an error of the gateway's ends the run.

The interpreter matters: more than half of a request's processor time is spent in it. The machine's line above says
whether it was built with profile-guided optimization, as distributions and Azure have it. pyenv builds without it by
default: on the same machine such a build takes 1.4 to 1.6 times as long for the same Python code, and Envoy as long as
ever. The same targets without it, on the same day: `http_c16_rps_vs_envoy` 0.94, `http_c16_rps_vs_fastapi` 0.60,
`overload_goodput` 0.87, `fpga_use_c16` 0.95, `native_c1_added_ms` 0.63, `cold_first_score_ms` 900. Where a section was
measured at another time, or with another interpreter, it says so.

Each system is set up as its experienced users would, with one worker, and with TLS and the key towards the service:

{systems}

{sections}

## Versions

{versions_text}
"""


def write(results: Mapping[str, Any], file: Path) -> None:
    """Write the page for these results."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_page(results), encoding="utf-8")


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Draw the plots of every measured section.

    Raises:
        ImportError: matplotlib is not installed.
    """
    for name, data in results["sections"].items():
        SECTIONS[name].plot(data, folder)


def _page(results: Mapping[str, Any]) -> str:
    return _TEXT.format(
        when=results["when"],
        machine_text=description.paragraph(results["machine"]),
        runs=_runs(results["sections"]),
        targets=targets.targets_table(results["ratios"], results["spread"]),
        verdict=_verdict(results),
        one=results["machine"]["measured program on processor"],
        rest=results["machine"]["load client and services on"],
        limit=LIMIT,
        retries=ATTEMPTS - 1,
        **_counts(results["sections"]),
        systems="\n".join(f"- **{each.title}**: {each.setup}" for each in SYSTEMS),
        sections="\n\n".join(_section(name, data) for name, data in results["sections"].items()),
        versions_text=description.paragraph(results["versions"]),
    )


def _runs(sections: Mapping[str, Any]) -> str:
    counts = {name: data["runs"] for name, data in sections.items()}
    most = max(counts.values())
    fewer = [f"{name}: {count}" for name, count in counts.items() if count < most]
    return f"{most} {'run' if most == 1 else 'runs'}" + (f" ({', '.join(fewer)})" if fewer else "")


def _section(name: str, data: Mapping[str, Any]) -> str:
    text = SECTIONS[name].report(data).rstrip()
    if "taken" not in data:
        return text
    taken = data["taken"]
    return f"{text}\n\nTaken by itself, on {taken['when']}. {description.paragraph(taken['machine'])}"


def _verdict(results: Mapping[str, Any]) -> str:
    missed = targets.missed(results["ratios"])
    verdict = "\n".join(["Missed:", "", *missed]) if missed else "Every target was reached."
    if results["quick"]:
        return f"These figures are from a quick check (`--quick`), too short to be reliable.\n\n{verdict}"
    return verdict


def _counts(sections: Mapping[str, Any]) -> dict[str, int]:
    """The numbers of slices, rejected attempts, slices that remained noisy, and errors after which one was repeated."""
    rows = list(_summaries(sections))
    defaults = {"slices": 1, "repeated": 0, "noisy": 0, "failed": 0}
    return {name: sum(int(row.get(name, default)) for row in rows) for name, default in defaults.items()}


def _summaries(found: Any) -> Iterable[Mapping[str, Any]]:
    """Every summary with noise counts, at any depth."""
    if isinstance(found, Mapping) and "repeated" in found:
        yield found
    elif isinstance(found, Mapping | list):
        for each in found.values() if isinstance(found, Mapping) else found:
            yield from _summaries(each)
