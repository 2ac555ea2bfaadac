"""The worker's process, as Azure runs it, beside invocations in the host's own process; report.py tells more.

The app is the package of `make dist`, with two more functions: one does nothing, which is what the worker's library
takes by itself; the other only calls the service, over the gateway's channel.
"""

import asyncio
import io
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]  # published without type information

from benchmarks.harness.app import App, Request, infer_request, score_request
from benchmarks.harness.grpc_load import closed_loop
from benchmarks.harness.images import jpeg, large_photograph
from benchmarks.harness.interleaved import Call, interleaved
from benchmarks.harness.machine import CpuLoad, Processors, cpu_seconds, pin, pinned, thread_seconds
from benchmarks.harness.noise import RetryBudget, measured
from benchmarks.harness.slices import Samples, Schedule, Slice
from benchmarks.harness.testbed import PRODUCTION, Testbed, run
from benchmarks.peers.forwarding import files_request
from benchmarks.worker_process import starts
from devstack import package
from devstack.host.remote.worker import RemoteWorker

EMPTY, CALL, PHOTO, TENSOR, LARGE = "empty", "call", "score", "tensor", "photograph"
NATIVE, WORKER = "native", "worker"
# What is profiled by threads.
PROFILED = EMPTY, CALL, PHOTO
CONCURRENT = 16
STARTS = 2
# A photograph takes as long as dozens of the other calls.
_FEWER = 10
_FUNCTIONS = """

@app.route("api/empty", methods=["POST"])
async def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b"")


@app.route("api/call", methods=["POST"])
async def call(req: func.HttpRequest) -> func.HttpResponse:
    from shared.gateway import gateway

    client = gateway().member(gateway().settings.default_service).upstream.client
    credentials = client.credentials.latest() or await client.credentials.current()
    with client._slot.channel(credentials.pins) as channel:
        predict = channel._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        await predict(req.get_body(), timeout=10, metadata=(("authorization", credentials.keys[0]),))
    return func.HttpResponse(b"")
"""


def measure(quick: bool) -> dict[str, Any]:
    """The tables ``one`` and ``many`` by request and way, and the ratios.

    Raises:
        StackFailed: a service does not start. BenchmarkFailed: an image was not scored.
    """
    return run(lambda testbed: _measure(testbed, quick=quick))


async def _measure(testbed: Testbed, *, quick: bool) -> dict[str, Any]:
    split = Processors.split()
    pin(split.others)  # for the processes that are started here
    addresses = await testbed.start_services()
    settings = testbed.settings(replace(addresses, fpga=await testbed.start_fast_service()))
    with tempfile.TemporaryDirectory() as folder:
        _write_app(Path(folder), package.unpack())
        native = await App.load({**settings, **PRODUCTION}, Path(folder))
        remote = RemoteWorker(Path(folder))
        with pinned(split.measured):
            worker = await App.start(remote)
        try:
            found = await _compare(native, worker, _worker_pid(), testbed.supervisor.pids().values(), quick=quick)
        finally:
            await remote.close()
    # The host's timers ask the service for more than the fast one answers.
    complete, count = testbed.settings(addresses), 1 if quick else STARTS
    found["starts"] = await asyncio.to_thread(starts.measure, complete, testbed.options.folder, count)
    return found


async def _compare(native: App, worker: App, pid: int, services: Any, *, quick: bool) -> dict[str, Any]:
    load = CpuLoad([pid, *services])
    count, schedule = (5, Schedule(1, 0.1, retries=0)) if quick else (300, Schedule(2, 0.5))
    calls: dict[str, Call] = {
        f"{way}_{what}": partial(app.score, request)
        for way, app in ((NATIVE, native), (WORKER, worker))
        for what, request in _requests(app).items()
    }
    one = await interleaved(calls, count, load)
    large = {
        f"{way}_{LARGE}": partial(app.score, _photograph(app)) for way, app in ((NATIVE, native), (WORKER, worker))
    }
    one |= await interleaved(large, max(1, count // _FEWER), load)
    many = await _concurrent(calls, pid, schedule, load)
    profile = {
        str(concurrency): {
            what: await _profile(calls[f"{WORKER}_{what}"], pid, concurrency, schedule) for what in PROFILED
        }
        for concurrency in (1, CONCURRENT)
    }
    return {"one": one, "many": many, "profile": profile, "ratios": ratios(one)}


def ratios(one: Mapping[str, Any]) -> dict[str, float]:
    """The targets' ratios in the table of single calls."""
    added = {
        what: one[f"{WORKER}_{what}"]["p50_ms"] - one[f"{NATIVE}_{what}"]["p50_ms"] for what in (EMPTY, CALL, PHOTO)
    }
    return {
        "worker_c1_over_empty_ms": added[PHOTO] - added[EMPTY],
        "worker_c1_over_call_ms": added[PHOTO] - added[CALL],
    }


def _requests(app: App) -> dict[str, Request]:
    """What is sent to each function; the same file, but for the tensor."""
    file, pixels = jpeg(20_000), np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    return {
        EMPTY: app.request("/api/empty", {"Content-Type": "image/jpeg"}, file),
        CALL: app.request("/api/call", {"Content-Type": "image/jpeg"}, files_request([file]).SerializeToString()),
        PHOTO: score_request(app, file),
        TENSOR: infer_request(app, pixels),
    }


def _photograph(app: App) -> Request:
    """12 megapixels, for a model that takes tensors."""
    file = io.BytesIO()
    large_photograph().save(file, "JPEG", quality=90)
    return app.request("/api/services/imagenet-tensor/score", {"Content-Type": "image/jpeg"}, file.getvalue())


async def _concurrent(calls: Mapping[str, Call], pid: int, schedule: Schedule, load: CpuLoad) -> dict[str, Any]:
    """Slices of concurrent calls by turns; ``server_cpu_ms`` is the time a call of the process that runs the app.

    Of the native calls it has that of their repetition, too.
    """
    samples, budget = {name: Samples() for name in calls}, RetryBudget(schedule.rounds * len(calls), schedule.retries)
    for _ in range(schedule.rounds):
        for name, call in calls.items():
            process = pid if name.startswith(WORKER) else os.getpid()

            async def take(call: Call = call, process: int = process) -> Slice:
                before = _seconds(process)
                made = await closed_loop(call, CONCURRENT, schedule.seconds)
                made.server_cpu = _seconds(process) - before
                return made

            await closed_loop(call, CONCURRENT, 0.05)
            samples[name].taken.append(await measured(take, load, budget))
    return {name: one.summary() for name, one in samples.items()}


async def _profile(call: Call, pid: int, concurrency: int, schedule: Schedule) -> dict[str, float]:
    """The processor time a call of the worker's threads, in milliseconds, by their kind."""
    await closed_loop(call, concurrency, 0.05)
    before = thread_seconds(pid)
    made = await closed_loop(call, concurrency, schedule.rounds * schedule.seconds)
    return {kind: 1000 * (after - before[kind]) / len(made.took) for kind, after in thread_seconds(pid).items()}


def _seconds(process: int) -> float:
    return time.process_time() if process == os.getpid() else cpu_seconds([process])


def _write_app(folder: Path, app: Path) -> None:
    """The package's files, and one more function."""
    for file in app.iterdir():
        if file.name not in {"function_app.py", "__pycache__"}:  # the latter has the former, compiled
            (folder / file.name).symlink_to(file)
    source = (app / "function_app.py").read_text(encoding="utf-8")
    (folder / "function_app.py").write_text(source + _FUNCTIONS, encoding="utf-8")


def _worker_pid() -> int:
    found = [one.pid for one in psutil.Process().children() if "functions_worker" in one.cmdline()]
    return int(found[0])
