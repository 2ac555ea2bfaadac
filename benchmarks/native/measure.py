"""The worker itself, without HTTP: the app is invoked in this process, on one processor; report.py describes the calls.

Key Vault, the identity endpoint and the service (TLS, an engine that takes no time:
:mod:`benchmarks.harness.fast_service`) are processes on the other processors.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness.app import App, infer_request, score_request
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.grpc_load import closed_loop
from benchmarks.harness.images import jpeg
from benchmarks.harness.interleaved import Call, interleaved
from benchmarks.harness.internals import assembled_tensor, live_channel
from benchmarks.harness.machine import CpuLoad, Processors, pin
from benchmarks.harness.noise import RetryBudget, measured
from benchmarks.harness.slices import Samples, Schedule, Slice
from benchmarks.harness.testbed import PRODUCTION, Testbed, run
from benchmarks.peers.forwarding import files_request, predict_call

NATIVE, RAW, OBJECTS = "native", "raw", "objects"
TENSOR, BY_HAND = "native_tensor", "by_hand"

type Calls = Mapping[str, Call]


def measure(quick: bool) -> dict[str, Any]:
    """The tables ``one`` (one call at a time) and ``many`` (by concurrency), and the ratios.

    Raises:
        StackFailed: a service does not start. BenchmarkFailed: an image was not scored.
    """
    return run(lambda testbed: _measure(testbed, quick=quick))


async def _measure(testbed: Testbed, *, quick: bool) -> dict[str, Any]:
    split = Processors.split()
    pin(split.others)  # for the processes that are started here
    addresses = await testbed.start_services()
    settings = testbed.settings(replace(addresses, fpga=await testbed.start_fast_service()))
    pin(split.measured)
    app = await App.load({**settings, **PRODUCTION})
    images, tensors = await _image_calls(app), await _tensor_calls(app)
    load = CpuLoad(testbed.supervisor.pids().values())
    count, schedule = (100, Schedule(1, 0.1, retries=0)) if quick else (600, Schedule(3, 0.5))
    one: dict[str, Any] = {}
    for calls in (images, tensors):
        one |= await interleaved(calls, count, load)
    many = {
        str(concurrency): await _concurrent(calls, concurrency, schedule, load)
        for calls, concurrency in (({**images, **tensors}, 16), (images, 64))
    }
    return {"one": one, "many": many, "ratios": ratios(one, many)}


def ratios(one: Mapping[str, Any], many: Mapping[str, Any]) -> dict[str, float]:
    """The targets' ratios in these tables."""
    cpu = {name: row["server_cpu_ms"] for name, row in many["16"].items()}
    return {
        "native_c1_added_ms": one[NATIVE]["p50_ms"] - one[RAW]["p50_ms"],
        "native_c16_cpu_vs_direct": cpu[NATIVE] / cpu[OBJECTS],
        "tensor_600k_vs_direct": one[TENSOR]["p50_ms"] / one[BY_HAND]["p50_ms"],
    }


async def native_and_raw(app: App, file: bytes) -> Calls:
    """The invocation with an image file, and the floor."""
    request = score_request(app, file)
    await app.score(request)  # connects
    predict = (await live_channel()).predict()
    raw = files_request([file]).SerializeToString()
    return {NATIVE: lambda: app.score(request), RAW: lambda: predict(raw)}


async def _image_calls(app: App) -> Calls:
    file = jpeg(20_000)
    calls, live = await native_and_raw(app, file), await live_channel()
    predict = predict_call(live.channel)

    async def objects() -> None:
        response = await predict(files_request([file]), timeout=10, metadata=live.metadata)
        scores = np.array(response.outputs["output_alias"].float_val, np.float32)
        if scores.size != 1000:
            raise BenchmarkFailed("The service answered without scores.")

    return {**calls, OBJECTS: objects}


async def _tensor_calls(app: App) -> Calls:
    pixels = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    request = infer_request(app, pixels)
    await app.score(request)
    predict, message = (await live_channel()).predict(), assembled_tensor()
    return {TENSOR: lambda: app.score(request), BY_HAND: lambda: predict(message(pixels))}


async def _concurrent(calls: Calls, concurrency: int, schedule: Schedule, load: CpuLoad) -> dict[str, Any]:
    """Slices of concurrent calls of each kind by turns; ``server_cpu_ms`` is this process's time a call."""
    samples = {name: Samples() for name in calls}
    order, budget = list(calls.items()), RetryBudget(schedule.rounds * len(calls), schedule.retries)
    for _ in range(schedule.rounds):
        for name, call in order:

            async def take(call: Call = call) -> Slice:
                before = time.process_time()
                made = await closed_loop(call, concurrency, schedule.seconds)
                made.server_cpu = time.process_time() - before
                return made

            # By doubling: the gateway admits more once the service has answered in time.
            for fewer in (concurrency // 4, concurrency // 2, concurrency):
                await closed_loop(call, fewer, 0.02)
            samples[name].taken.append(await measured(take, load, budget))
        order.append(order.pop(0))
    return {name: samples[name].summary() for name in calls}
