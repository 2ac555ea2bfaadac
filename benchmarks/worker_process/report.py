"""The worker's process: tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.markdown import number, table
from benchmarks.worker_process.measure import CALL, CONCURRENT, EMPTY, LARGE, NATIVE, PHOTO, TENSOR, WORKER

_REQUESTS = {
    EMPTY: "20 KB, nothing done",
    CALL: "20 KB, only a call of the service",
    PHOTO: "20 KB JPEG",
    TENSOR: "600 KB tensor",
    LARGE: "12-megapixel photograph to a tensor",
}

_TEXT = """\
## In a worker process

As Azure runs it: the host sends each request as a protobuf message on a stream of gRPC to the worker, a process with
the package of `make dist`, its own event loop and task factory. A stand-in for both is part of the local stack; the
library that runs functions is Microsoft's. *Native* is the same library in the host's process, without the stream. A
function that does nothing with the same 20 KB says what the stream and the library take by themselves, and one that
only calls the service over the gateway's channel what gRPC takes besides. The host's side is Python here and takes the
most of a call's time; Azure's is .NET. The native calls share a processor with the services, the worker has one of its
own: there each message wakes an idle processor.

Of the processor time, with {concurrent} calls at a time, only that of the process with the app counts; that of the
native calls has the load's own in it:

{rows}

The worker's process adds {ratios[worker_c1_over_empty_ms]:.2f} ms more to a score than to the function that does
nothing, {ratios[worker_c1_over_call_ms]:.2f} ms more than to the one that only calls the service.

Where the worker's processor time goes, by its threads, in milliseconds a call. *The event loop's* runs the library and
the app; *other threads of Python* read and write the worker's stream (the worker's own gRPC), and wait for the answers
of the app's; *gRPC's core* moves the app's messages:

{profile_table}

From the start of the host's process (two processes for the worker, which starts as a placeholder and becomes the app in
{starts[worker][became_ms]:.0f} ms), medians in milliseconds. A killed worker's successor gives its first score after
{starts[worker][restarted_ms]:.0f} ms.

{starts_table}
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    rows = []
    for what, title in _REQUESTS.items():
        for way in (NATIVE, WORKER):
            one, many = data["one"][f"{way}_{what}"], data["many"].get(f"{way}_{what}")
            figures = [number(one["p50_ms"], 3), number(one["p99_ms"], 2)]
            loaded = [number(many["rps"], 0), number(many["server_cpu_ms"], 3)] if many else ["", ""]
            rows.append([f"{title}, {way}", *figures, *loaded])
    head = ["", "p50, ms", "p99, ms", f"calls/s, {CONCURRENT} at a time", "processor, ms a call"]
    starts = [
        [way, *(number(one[name], 0) for name in ("serving_ms", "first_ms"))] for way, one in data["starts"].items()
    ]
    return _TEXT.format(
        concurrent=CONCURRENT,
        ratios=data["ratios"],
        rows=table(head, rows),
        starts=data["starts"],
        profile_table=table(["", "the event loop's", "other threads of Python", "gRPC's core", "all"], _profile(data)),
        starts_table=table(["", "serving", "first score"], starts),
    )


def _profile(data: Mapping[str, Any]) -> list[list[str]]:
    """A row for each request and concurrency."""
    return [
        [
            f"{_REQUESTS[what]}, {concurrency} at a time",
            *(number(one, 3) for one in (*times.values(), sum(times.values()))),
        ]
        for concurrency, rows in data["profile"].items()
        for what, times in rows.items()
    ]


def plot(_data: Mapping[str, Any], _folder: Path) -> None:
    """Nothing: the table is small."""
