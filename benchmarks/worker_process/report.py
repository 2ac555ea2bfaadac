"""The worker's process: tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.markdown import number, table
from benchmarks.worker_process.measure import CONCURRENT, EMPTY, NATIVE, PHOTO, TENSOR, WORKER

_REQUESTS = {EMPTY: "20 KB, nothing done", PHOTO: "20 KB JPEG", TENSOR: "600 KB tensor"}

_TEXT = """\
## In a worker process

As Azure runs it: the host sends each request as a protobuf message on a stream of gRPC to the worker, a process with
the package of `make dist`, its own event loop and task factory. A stand-in for both is part of the local stack; the
library that runs functions is Microsoft's. *Native* is the same library in the host's process, without the stream. A
function that does nothing with the same 20 KB says what the stream and the library take by themselves. The host's side
is Python here and takes the most of a call's time; Azure's is .NET.

Of the processor time, with {concurrent} calls at a time, only that of the process with the app counts; that of the
native calls has the load's own in it:

{rows}

Beyond what it adds to a function that does nothing, the stream adds {ratios[worker_c1_over_empty_ms]:.2f} ms here.
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    rows = []
    for what, title in _REQUESTS.items():
        for way in (NATIVE, WORKER):
            one, many = data["one"][f"{way}_{what}"], data["many"][f"{way}_{what}"]
            figures = [number(one["p50_ms"], 3), number(one["p99_ms"], 2)]
            rows.append([f"{title}, {way}", *figures, number(many["rps"], 0), number(many["server_cpu_ms"], 3)])
    head = ["", "p50, ms", "p99, ms", f"calls/s, {CONCURRENT} at a time", "processor, ms a call"]
    return _TEXT.format(concurrent=CONCURRENT, ratios=data["ratios"], rows=table(head, rows))


def plot(_data: Mapping[str, Any], _folder: Path) -> None:
    """Nothing: the table is small."""
