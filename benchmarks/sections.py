"""The parts of ``make bench``, each a process of its own, one after the other: ``python -m benchmarks.sections NAME``.

A part is a module with ``measure``, ``report`` and ``plot``; what it measured is JSON.
"""

import argparse
import importlib
import importlib.util
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.environments import EnvironmentFailed
from benchmarks.http_load import BadAnswer
from benchmarks.rig import Invalid
from devstack.host.errors import HostError
from devstack.photos import PhotoError
from devstack.state import StateUnusable
from devstack.supervisor import StackFailed

_EXPECTED = (BadAnswer, EnvironmentFailed, HostError, Invalid, PhotoError, StackFailed, StateUnusable)


@dataclass(frozen=True)
class Section:
    """A part of the report: its heading, its module, and what ``measure`` is given beside ``quick``."""

    title: str
    module: str
    options: Mapping[str, Any] = field(default_factory=dict)
    takes_peers: bool = False

    def exists(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def load(self) -> Any:
        return importlib.import_module(self.module)


SECTIONS = {
    "native": Section("The worker itself", "benchmarks.native"),
    "http": Section(
        "Over HTTP, beside its peers: a service that takes no time",
        "benchmarks.side_by_side",
        {"latency_ms": 0.0},
        takes_peers=True,
    ),
    "http_fpga": Section(
        "Over HTTP, beside its peers: a service that takes 1.8 ms an image, one at a time",
        "benchmarks.side_by_side",
        {"latency_ms": 1.8},
        takes_peers=True,
    ),
    "photos": Section("Photographs", "benchmarks.photos"),
    "cold": Section("The cold start", "benchmarks.cold"),
    "overload": Section("Overload", "benchmarks.overload"),
}


def measure(name: str, *, quick: bool, peers: Sequence[str]) -> dict[str, Any]:
    """Run one part in this process."""
    section = SECTIONS[name]
    options = {**section.options, **({"names": peers} if section.takes_peers else {})}
    measured: dict[str, Any] = section.load().measure(quick, **options)
    return measured


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one part, and write it to a file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sections")
    add = parser.add_argument
    add("name", choices=list(SECTIONS))
    add("--out", type=Path, required=True)
    add("--quick", action="store_true")
    add("--peers", nargs="*", default=[])
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        measured = measure(options.name, quick=options.quick, peers=options.peers)
    except _EXPECTED as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    options.out.write_text(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
