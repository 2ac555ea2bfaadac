"""A photograph through the gateway to a real Triton, beside programs that decode it themselves; report.py tells more.

The app runs in this process, invoked by Microsoft's worker library, and so do the programs without a gateway. The local
model is behind Triton without TLS, for pixels of UINT8 and of FP32.
"""

import asyncio
import io
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import aiohttp
import grpc
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.app import App
from benchmarks.harness.grpc_load import closed_loop
from benchmarks.harness.http_client import form
from benchmarks.harness.images import jpeg
from benchmarks.harness.interleaved import Call, interleaved
from benchmarks.harness.launch import free_port
from benchmarks.harness.machine import CpuLoad, Processors, pin
from benchmarks.harness.noise import RetryBudget, measured
from benchmarks.harness.slices import Samples, Schedule, Slice
from benchmarks.harness.testbed import Testbed, run
from devstack.triton import TritonUnavailable, ensure_environment
from protos import open_inference_pb2 as pb
from shared.scoring import images
from shared.settings import Datatype, Layout, Preprocessing

UINT8, FP32 = "nhwc-uint8", "nchw-fp32"
CONCURRENT, FILES = 16, 8
INFER = "/inference.GRPCInferenceService/ModelInfer"
GATEWAY, GATEWAY_FP32 = "gateway_uint8", "gateway_fp32"
BY_GRPC, BY_HTTP, FLOOR, DECODING, IN_TURN = "pillow_grpc", "pillow_http", "grpc", "decoding", "decoding_grpc"


def measure(quick: bool) -> dict[str, Any]:
    """The tables ``one``, ``files`` and ``many``, and the ratios; or why Triton is ``unavailable`` here.

    Raises:
        StackFailed: Triton does not start. BenchmarkFailed: an image was not scored.
    """
    try:
        ensure_environment()
    except TritonUnavailable as error:
        return {"unavailable": str(error), "ratios": {}}
    return run(lambda testbed: _measure(testbed, quick=quick))


async def _measure(testbed: Testbed, *, quick: bool) -> dict[str, Any]:
    split, http, file = Processors.split(), free_port(), jpeg(20_000)
    pin(split.others)
    address = await testbed.start("Triton", "devstack.triton", "--http-port", str(http), "--models", UINT8, FP32)
    pin(split.measured)
    app = await App.load(_settings(address))
    load = CpuLoad(testbed.supervisor.pids().values())
    count, schedule = (5, Schedule(1, 0.1, retries=0)) if quick else (100, Schedule(2, 0.5))
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(address) as channel:
        infer: Any = channel.unary_unary(INFER)
        message = _message(pixels_of(file))
        calls: dict[str, Call] = {
            GATEWAY: partial(_scored, app, UINT8, file),
            GATEWAY_FP32: partial(_scored, app, FP32, file),
            BY_GRPC: partial(_by_grpc, infer, file),
            BY_HTTP: partial(_by_http, session, f"http://127.0.0.1:{http}/v2/models/{UINT8}/infer", file),
            IN_TURN: partial(_decoded_and_called, infer, message, file),
            FLOOR: lambda: infer(message, timeout=10),
            DECODING: partial(_decoded, file),
        }
        one = await interleaved(calls, count, load)
        several: dict[str, Call] = {
            GATEWAY: partial(_form_scored, app, [file] * FILES),
            BY_GRPC: partial(_by_grpc, infer, *[file] * FILES),
        }
        files = await interleaved(several, max(count // FILES, 1), load)
        many = await _concurrent({name: calls[name] for name in (GATEWAY, GATEWAY_FP32, BY_GRPC, BY_HTTP)}, schedule)
    return {"one": one, "files": files, "many": many, "ratios": ratios(one, files, many)}


def ratios(one: Mapping[str, Any], files: Mapping[str, Any], many: Mapping[str, Any]) -> dict[str, float]:
    """The targets' ratios in these tables."""
    return {
        "triton_c1_added_ms": one[GATEWAY]["p50_ms"] - one[IN_TURN]["p50_ms"],
        "triton_files_vs_batch": files[GATEWAY]["p50_ms"] / files[BY_GRPC]["p50_ms"],
        "triton_c16_uint8_vs_fp32_cpu": many[GATEWAY]["server_cpu_ms"] / many[GATEWAY_FP32]["server_cpu_ms"],
    }


async def _concurrent(calls: Mapping[str, Call], schedule: Schedule) -> dict[str, Any]:
    """Slices of concurrent calls by turns; ``server_cpu_ms`` is this process's time a call, with all its threads."""
    load, budget = CpuLoad(()), RetryBudget(0)
    samples = {name: Samples() for name in calls}
    for _ in range(schedule.rounds):
        for name, call in calls.items():

            async def take(call: Call = call) -> Slice:
                before = time.process_time()
                taken = await closed_loop(call, CONCURRENT, schedule.seconds)
                taken.server_cpu = time.process_time() - before
                return taken

            await closed_loop(call, CONCURRENT, 0.1)
            samples[name].taken.append(await measured(take, load, budget))
    return {name: one.summary() for name, one in samples.items()}


def _settings(address: str) -> dict[str, str]:
    settings = {"SERVICES": f"{UINT8},{FP32}", "ROTATION_SCHEDULE": "0 */5 * * * *"}
    for model in (UINT8, FP32):
        own = {"ADDRESS": "127.0.0.1", "PORT": address.rpartition(":")[2], "TLS": "insecure-no-key-is-sent"}
        own |= {"PROTOCOL": "open-inference", "MODEL": model, "MAX_CONCURRENCY": "1024", "DEADLINE_MS": "60000"}
        settings |= {f"SERVICE__{model.upper().replace('-', '_')}__{key}": value for key, value in own.items()}
    return settings


async def _scored(app: App, model: str, file: bytes) -> None:
    headers = {"Content-Type": "image/jpeg"}
    await app.score(app.request(f"/api/services/{model}/score", headers, file))


async def _form_scored(app: App, files: Sequence[bytes]) -> None:
    content_type, body = form(files)
    await app.score(app.request(f"/api/services/{UINT8}/score", {"Content-Type": content_type}, body))


def _pixels(file: bytes) -> None:
    images.to_pixels(file, Preprocessing(), 10**8, datatype=Datatype.UINT8, layout=Layout.NHWC)


async def _decoded(file: bytes) -> None:
    _pixels(file)


async def _decoded_and_called(infer: Any, message: bytes, file: bytes) -> None:
    await asyncio.to_thread(_pixels, file)
    await infer(message, timeout=10)


def pixels_of(file: bytes) -> npt.NDArray[np.uint8]:
    """As :func:`benchmarks.peers.forwarding.pixels_of`, in bytes."""
    with Image.open(io.BytesIO(file)) as image:
        picture = image.convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))[np.newaxis]


def _message(pixels: npt.NDArray[np.uint8]) -> bytes:
    request = pb.ModelInferRequest(model_name=UINT8, raw_input_contents=[pixels.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    return request.SerializeToString()


async def _by_grpc(infer: Any, *files: bytes) -> list[int]:
    pixels = await asyncio.gather(*(asyncio.to_thread(pixels_of, file) for file in files))
    answer = pb.ModelInferResponse.FromString(await infer(_message(np.concatenate(pixels)), timeout=10))
    scores = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(len(files), -1)
    return scores.argmax(axis=1).tolist()  # type: ignore[no-any-return]


async def _by_http(session: aiohttp.ClientSession, url: str, file: bytes) -> int:
    pixels = (await asyncio.to_thread(pixels_of, file)).tobytes()
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 224, 224, 3]}
    inputs = [{**tensor, "parameters": {"binary_data_size": len(pixels)}}]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    async with session.post(url, data=head + pixels, headers=headers) as response:
        response.raise_for_status()
        body, size = await response.read(), int(response.headers["Inference-Header-Content-Length"])
    return int(np.frombuffer(body[size:], "<f4").argmax())
