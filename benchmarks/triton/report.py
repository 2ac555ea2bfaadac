"""A real Triton: tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.markdown import number, table
from benchmarks.triton.measure import (
    BY_GRPC,
    BY_HTTP,
    DECODING,
    FILES,
    FLOOR,
    GATEWAY,
    GATEWAY_FP32,
    IN_TURN,
)

_TITLES = {
    GATEWAY: "gateway, model of UINT8",
    GATEWAY_FP32: "gateway, model of FP32",
    BY_GRPC: "client with Pillow and gRPC, UINT8",
    BY_HTTP: "client with Pillow and Triton's HTTP endpoint, UINT8",
    IN_TURN: "the gateway's decoding in a thread, then the call",
    FLOOR: "the call alone, serialized beforehand and not parsed",
    DECODING: "the gateway's decoding alone",
}

_TEXT = """\
## A real Triton

A JPEG of 20 KB to the local model behind Triton (Python backend, without TLS, on the other processor). The gateway is
invoked by the worker library; the clients decode with Pillow as it is usually written. Triton takes nearly all of the
time, so what is compared is what the programs before it add.

One at a time:

{one}

The gateway adds {ratios[triton_c1_added_ms]:.2f} ms to a program that only decodes, in a thread, and calls.

16 at a time; the processor time is this process's, with all its threads, and Triton's is not in it:

{many}

{files_count} photographs in a request, one request at a time. The client decodes them side by side, and calls once:

{files}
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    if "unavailable" in data:
        return f"## A real Triton\n\nNot measured: {data['unavailable']}.\n"
    return _TEXT.format(
        ratios=data["ratios"],
        one=_one_at_a_time(data["one"]),
        files=_one_at_a_time(data["files"]),
        files_count=FILES,
        many=table(
            ["", "calls/s", "p50, ms", "processor, ms a call"],
            [
                [_TITLES[name], number(row["rps"], 0), number(row["p50_ms"], 1), number(row["server_cpu_ms"], 2)]
                for name, row in data["many"].items()
            ],
        ),
    )


def _one_at_a_time(rows: Mapping[str, Any]) -> str:
    lines = [[_TITLES[name], number(row["p50_ms"], 2), number(row["p99_ms"], 2)] for name, row in rows.items()]
    return table(["", "p50, ms", "p99, ms"], lines)


def plot(_data: Mapping[str, Any], _folder: Path) -> None:
    """Nothing: the tables are small."""
