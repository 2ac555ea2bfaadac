"""What the worker itself costs, without any HTTP: ``python -m benchmarks.native``.

In Azure the Functions host speaks HTTP, and hands each request to the Python worker; what runs there is the worker
library's invocation of the app, which is what is measured here, in this process and on one processor. Key Vault, the
identity endpoint and the service (TLS, an engine that takes no time: :mod:`benchmarks.quick_service`) are processes on
the other ones.
Beside it, in turn, on the same processor and against the same service:

- *raw*: ``Predict`` on the gateway's own live channel, serialized beforehand and not read: the floor;
- *objects*: ``grpc.aio`` as a client in Python is usually written: a message built of protobuf's classes for each
  request, the answer parsed, its scores read into an array;
- for a tensor of 600 KB: the Open Inference Protocol's binary door, and a direct call whose message is assembled by
  hand for each request.
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.arena import Cost, Pace, Samples
from benchmarks.doors import binary
from benchmarks.grpc_load import closed_loop
from benchmarks.machine import Load, Processors, pin
from benchmarks.peers.forwarding import files_request
from benchmarks.quiet import Noise, Patience, quietly
from benchmarks.rig import CALM, App, Bench, Invalid, jpeg, result
from protos.serving_pb2_grpc import PredictionServiceStub
from shared.fpga import channels
from shared.gateway import gateway
from shared.scoring.tensors import RequestTemplate

NATIVE, RAW, OBJECTS = "native", "raw", "objects"
TENSOR, BY_HAND = "native_tensor", "by_hand"
TITLES = {
    NATIVE: "native invocation, 20 KB JPEG",
    RAW: "direct call, raw bytes (the floor)",
    OBJECTS: "direct call, protobuf objects",
    TENSOR: "native invocation, 600 KB tensor",
    BY_HAND: "direct call, assembled by hand",
}
WARM_UP, A_BATCH = 300, 100
# Calls of one kind before another kind has its turn: by itself, each finds its own code in the processor's caches, as
# in life.
IN_A_ROW = 20

_INTRODUCTION = """\
In Azure the Functions host speaks HTTP and hands each request to the Python worker. What runs there is the worker
library's invocation of the app: it is measured here by itself, on one processor, in turn with direct calls of the same
service from the same process. *Raw bytes* is the floor: `Predict` on the gateway's own live channel, serialized
beforehand and not read. *Protobuf objects* is `grpc.aio` as a client is usually written: a message of the generated
classes for each request, the scores read into an array."""

type Leg = Callable[[], Awaitable[object]]
type Legs = Mapping[str, Leg]


def measure(quick: bool) -> dict[str, Any]:
    """The tables ``one`` (one call at a time) and ``many`` (by concurrency), and the ratios.

    Raises:
        StackFailed: a service does not start. Invalid: something was not scored.
    """
    return result(lambda bench: _measure(bench, quick=quick))


async def _measure(bench: Bench, *, quick: bool) -> dict[str, Any]:
    split = Processors.split()
    pin(split.others)  # for what is started here
    addresses = await bench.start_services()
    settings = bench.settings(replace(addresses, fpga=await bench.start_quick_service()))
    pin(split.measured)
    app = await App.load({**settings, **CALM})
    images, tensors = await _image_legs(app), await _tensor_legs(app)
    load = Load((), bench.supervisor.pids().values())
    batches, pace = (3, Pace(1, 0.3, again=0)) if quick else (20, Pace(8, 0.6))
    one = {**await _in_turn(images, batches, load), **await _in_turn(tensors, batches, load)}
    many = {
        str(concurrency): await _at_once(legs, concurrency, pace, load)
        for legs, concurrency in (({**images, **tensors}, 16), (images, 64))
    }
    return {"one": one, "many": many, "ratios": ratios(one, many)}


def ratios(one: Mapping[str, Any], many: Mapping[str, Any]) -> dict[str, float]:
    """The issue's ratios that this tells."""
    cpu = {name: row["server_cpu_ms"] for name, row in many["16"].items()}
    return {
        "native_c1_added_ms": one[NATIVE]["p50_ms"] - one[RAW]["p50_ms"],
        "native_c16_cpu_vs_direct": cpu[NATIVE] / cpu[OBJECTS],
        "tensor_600k_vs_direct": one[TENSOR]["p50_ms"] / one[BY_HAND]["p50_ms"],
    }


async def _image_legs(app: App) -> Legs:
    file = jpeg(20_000)
    request = app.request("/api/score", {"Content-Type": "image/jpeg"}, file)
    await app.score(request)  # brings the channel into being
    predict, metadata = await _live_call()
    service = gateway().service(None)
    raw = RequestTemplate(model=service.settings.model, signature="", input_name="images").encoded([file])
    stub = PredictionServiceStub(service.predictor._slot._live._channel)  # type: ignore[union-attr] # noqa: SLF001 - as in _live_call

    async def objects() -> None:
        response = await stub.Predict(files_request([file]), timeout=10, metadata=metadata)
        scores = np.array(response.outputs["output_alias"].float_val, np.float32)
        if scores.size != 1000:
            raise Invalid("The service answered without scores.")

    return {
        NATIVE: lambda: app.score(request),
        RAW: lambda: predict(raw, timeout=10, metadata=metadata),
        OBJECTS: objects,
    }


async def _tensor_legs(app: App) -> Legs:
    pixels = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    infer = binary(app, {"datatype": "FP32", "shape": list(pixels.shape)}, pixels.astype("<f4").tobytes())
    await app.score(infer)
    predict, metadata = await _live_call()
    template = RequestTemplate(model="imagenet", signature="", input_name="images")
    return {
        TENSOR: lambda: app.score(infer),
        BY_HAND: lambda: predict(template.tensor(pixels), timeout=10, metadata=metadata),
    }


async def _live_call() -> tuple[Callable[..., Awaitable[bytes]], tuple[tuple[str, str], ...]]:
    """``Predict`` in bytes on the live channel of this process's gateway, and what it takes to be let in."""
    predictor = gateway().service(None).predictor
    assert predictor.credentials is not None  # noqa: S101 - the local stack has TLS and keys
    credentials = await predictor.credentials.current()
    with predictor._slot.lease(credentials.pins) as lease:  # noqa: SLF001 - another channel is another connection
        predict: Callable[..., Awaitable[bytes]] = lease._channel.unary_unary(channels.PREDICT)  # noqa: SLF001 - as above
    return predict, (("authorization", credentials.keys[0]),)


async def _in_turn(legs: Legs, batches: int, load: Load) -> dict[str, dict[str, float]]:
    """One call at a time, each leg in turn."""
    await _batch(legs, WARM_UP)
    times: dict[str, list[float]] = {name: [] for name in legs}
    noise, patience = Noise(), Patience(batches)
    for _ in range(batches):
        taken = await quietly(lambda: _batch(legs, A_BATCH), load, patience)
        noise.note(taken)
        for name, seconds in taken.value.items():
            times[name] += seconds
    return {name: {**_told(seconds), **noise.told()} for name, seconds in times.items()}


async def _batch(legs: Legs, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in legs}
    order = list(legs.items())
    for _ in range(count // IN_A_ROW):
        for name, call in order:
            await call()  # after the others
            for _ in range(IN_A_ROW):
                started = time.perf_counter()
                await call()
                times[name].append(time.perf_counter() - started)
        order.append(order.pop(0))
    return times


def _told(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50_ms": 1e3 * median(ordered), "p99_ms": 1e3 * ordered[int(len(ordered) * 0.99)], "calls": len(ordered)}


async def _at_once(legs: Legs, concurrency: int, pace: Pace, load: Load) -> dict[str, dict[str, float]]:
    """Slices of calls side by side, each leg in turn; ``server_cpu_ms`` is this process's time a call."""
    samples = {name: Samples() for name in legs}
    order, patience = list(legs.items()), Patience(pace.rounds * len(legs), pace.again)
    for _ in range(pace.rounds):
        for name, call in order:

            async def take(call: Leg = call) -> Cost:
                before = time.process_time()
                made = await closed_loop(call, concurrency, pace.seconds)
                return Cost(made, time.process_time() - before)

            await _warm_up(call, concurrency)
            samples[name].add(await quietly(take, load, patience))
        order.append(order.pop(0))
    return {name: samples[name].summary() for name in legs}


async def _warm_up(call: Leg, concurrency: int) -> None:
    """Up to the concurrency by doubling: the gateway lets in more once it has seen that the service keeps pace."""
    for calls in (concurrency // 4, concurrency // 2, concurrency):
        await closed_loop(call, calls, 0.02)


def report(data: Mapping[str, Any]) -> str:
    """The section as markdown."""
    lines = [
        "## The worker itself",
        "",
        _INTRODUCTION,
        "",
        "One call at a time:",
        "",
        "| | p50, ms | p99, ms |",
        "|---|---:|---:|",
    ]
    lines += [f"| {TITLES[name]} | {row['p50_ms']:.3f} | {row['p99_ms']:.3f} |" for name, row in data["one"].items()]
    for concurrency, rows in data["many"].items():
        lines += ["", f"{concurrency} at a time:", ""]
        lines += ["| | calls/s | p50, ms | processor, ms a call |", "|---|---:|---:|---:|"]
        lines += [
            f"| {TITLES[name]} | {row['rps']:,.0f} | {row['p50_ms']:.2f} | {row['server_cpu_ms']:.3f} |"
            for name, row in rows.items()
        ]
    return "\n".join([*lines, ""])


def plot(_data: Mapping[str, Any], _folder: Path) -> list[Path]:
    """Nothing: the tables are small."""
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native")
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    data = measure(parser.parse_args(arguments).quick)
    print(f"{report(data)}\n{data['ratios']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
