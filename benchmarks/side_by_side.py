"""The gateway over HTTP beside its peers: ``python -m benchmarks.side_by_side``.

Each server has one worker on a processor that it shares with nobody who is busy; the FPGA service and the load client
have the other ones. Every contestant talks to the same service, over TLS and with its key, and is sent the same files.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import side_by_side_report
from benchmarks.arena import Arena, Pace
from benchmarks.contestants import CONTESTANTS, DIRECT, GATEWAY, LOAD_CLIENT, Contestant, Stage
from benchmarks.machine import Processors, pin
from benchmarks.rig import CALM, Bench, result
from benchmarks.works import Materials, Work
from devstack.state import PRIMARY_KEY
from devstack.vault.store import VaultStore

CONCURRENCIES = (1, 16, 64)


@dataclass(frozen=True)
class Bout:
    """One work at some concurrencies."""

    work: Work
    concurrencies: Sequence[int]
    pace: Pace


# A photograph takes a processor some 40 to 200 ms: 16 at a time keep it as busy as 64 would.
FULL_AT_ONCE = (
    Bout(Work.JPEG, CONCURRENCIES, Pace(8, 0.5)),
    Bout(Work.TENSOR, CONCURRENCIES, Pace(3, 0.5)),
    Bout(Work.FILES, CONCURRENCIES, Pace(3, 0.5)),
    Bout(Work.PHOTO, (1, 16), Pace(2, 1.5, least=1)),
)
FULL_IN_TIME = (
    Bout(Work.JPEG, CONCURRENCIES, Pace(4, 0.8)),
    Bout(Work.TENSOR, (1, 16), Pace(2, 0.6)),
    Bout(Work.FILES, (1, 16), Pace(2, 0.8)),
)
_LOOK = Pace(1, 0.2, least=1, again=0)
QUICK = (Bout(Work.JPEG, (1, 16), _LOOK), Bout(Work.FILES, (1,), _LOOK))


def measure(quick: bool, latency_ms: float, names: Sequence[str] = ()) -> dict[str, Any]:
    """All tables for a service of that latency: by work, concurrency and contestant; and the ratios.

    Without ``names`` all contestants take part.

    Raises:
        StackFailed: a server does not start. BadAnswer: one answers wrongly.
        EnvironmentFailed: a peer cannot be installed. PhotoError: the sample photographs are missing.
    """
    contestants = [each for each in CONTESTANTS if not names or each.name in names]
    bouts = QUICK if quick else FULL_IN_TIME if latency_ms else FULL_AT_ONCE
    pin(Processors.split().others)

    async def work(bench: Bench) -> dict[str, Any]:
        return await _measure(bench, contestants, bouts)

    tables = result(work, latency_ms)
    return {"latency_ms": latency_ms, "tables": tables, "ratios": ratios(tables, latency_ms)}


async def _measure(bench: Bench, contestants: Sequence[Contestant], bouts: Sequence[Bout]) -> dict[str, Any]:
    addresses = await bench.start_services()
    if not bench.options.latency_ms:
        addresses = replace(addresses, fpga=await bench.start_quick_service())
    made = Materials.make()
    stage = Stage(
        fpga=addresses.fpga,
        key=VaultStore(bench.state.vault).get(PRIMARY_KEY).value,
        roots=bench.state.ca,
        folder=bench.options.folder,
        settings={**bench.settings(addresses), **CALM},
    )
    services = list(bench.supervisor.pids())
    arena = Arena(stage, made, bench.supervisor, services)
    pace = bouts[0].pace
    client = [] if bench.options.latency_ms else [LOAD_CLIENT]
    await arena.start([*contestants, *client], bench.options.logs)
    tables: dict[str, Any] = {}
    for bout in bouts:
        tables[bout.work] = {
            str(concurrency): await arena.compare(contestants, bout.work, concurrency, bout.pace)
            for concurrency in bout.concurrencies
        }
    if client:
        tables[LOAD_CLIENT.name] = {
            str(concurrency): (await arena.compare(client, Work.JPEG, concurrency, replace(pace, rounds=1)))[
                LOAD_CLIENT.name
            ]
            for concurrency in CONCURRENCIES
        }
    return tables


def ratios(tables: Mapping[str, Any], latency_ms: float) -> dict[str, float]:
    """Those of the issue's ratios that these tables hold; the service with a latency tells how much of it is used."""
    table = tables[Work.JPEG]
    if latency_ms:
        return _over(table, "16", "rps", {"fpga_use_c16": DIRECT})
    peers = ("envoy", "fastapi", "litserve", "bentoml")
    return {
        **_over(table, "1", "p50_ms", {"http_c1_p50_vs_envoy": "envoy"}),
        **_over(table, "16", "rps", {f"http_c16_rps_vs_{peer}": peer for peer in peers}),
    }


def _over(table: Mapping[str, Any], concurrency: str, figure: str, named: Mapping[str, str]) -> dict[str, float]:
    """The gateway's figure over each other's, where both were measured."""
    rows = table.get(concurrency, {})
    return {
        name: rows[GATEWAY][figure] / rows[other][figure]
        for name, other in named.items()
        if GATEWAY in rows and other in rows
    }


def report(data: Mapping[str, Any]) -> str:
    """The section as markdown."""
    return side_by_side_report.section(data)


def plot(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the tables."""
    from benchmarks import side_by_side_plot  # noqa: PLC0415 - matplotlib, which measuring does not need

    return side_by_side_plot.draw(data, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side")
    add = parser.add_argument
    add("--latency-ms", type=float, default=0, help="of the simulated engine (default: %(default)s)")
    add("--quick", action="store_true", help="a look, not a measurement")
    add("--peers", nargs="*", default=[], choices=[each.name for each in CONTESTANTS], help="default: all")
    options = parser.parse_args(arguments)
    data = measure(options.quick, options.latency_ms, options.peers)
    print(f"\n{report(data)}\n{data['ratios']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
