"""The worker itself: tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.markdown import number, table
from benchmarks.native.measure import BY_HAND, NATIVE, OBJECTS, RAW, TENSOR

TITLES = {
    NATIVE: "native invocation, 20 KB JPEG",
    RAW: "direct call, raw bytes (the floor)",
    OBJECTS: "direct call, protobuf objects",
    TENSOR: "native invocation, 600 KB tensor",
    BY_HAND: "direct call, assembled by hand",
}

_INTRODUCTION = """\
## The worker itself

In Azure the Functions host handles HTTP and passes each request to the Python worker. There the worker library invokes
the app: that is measured here by itself, on one processor, by turns with direct calls of the same service from the same
process. *Raw bytes* is the floor: `Predict` on the gateway's own open channel, serialized beforehand and not parsed.
*Protobuf objects* is `grpc.aio` as a client is usually written: a message of the generated classes for each request,
the scores in an array."""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    one = [[TITLES[name], *(number(row[key], 3) for key in ("p50_ms", "p99_ms"))] for name, row in data["one"].items()]
    parts = [_INTRODUCTION, "One call at a time:", table(["", "p50, ms", "p99, ms"], one)]
    for concurrency, rows in data["many"].items():
        lines = [
            [TITLES[name], number(row["rps"], 0), number(row["p50_ms"], 2), number(row["server_cpu_ms"], 3)]
            for name, row in rows.items()
        ]
        head = ["", "calls/s", "p50, ms", "processor, ms a call"]
        parts += [f"{concurrency} at a time:", table(head, lines)]
    return "\n\n".join(parts) + "\n"


def plot(_data: Mapping[str, Any], _folder: Path) -> None:
    """Nothing: the tables are small."""
