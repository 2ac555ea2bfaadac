"""What a photograph costs through the gateway to a real Triton: ``python -m benchmarks.triton``.

The app runs in this process, invoked by Microsoft's worker library, and so do two clients without a gateway. By turns,
in one run, with the local model behind Triton without TLS:

- the gateway, to a model of UINT8 and to one of FP32;
- a client that decodes with Pillow as it is usually written, and calls Triton by gRPC, or by its HTTP endpoint with
  binary tensors, for the model of UINT8;
- the floor: the same call by gRPC, serialized beforehand and not parsed;
- eight photographs: a form to the gateway, and a client that decodes them side by side and calls once for all.

The gateway's added time is its median less the floor's and less that of its own decoding in this process.
"""

import asyncio
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.app import App
from benchmarks.harness.command import count_and_size, exit_code
from benchmarks.harness.grpc_load import closed_loop
from benchmarks.harness.http_client import form
from benchmarks.harness.images import jpeg
from benchmarks.harness.interleaved import Call, interleaved, print_table
from benchmarks.harness.launch import free_port
from benchmarks.harness.machine import CpuLoad
from benchmarks.harness.noise import Measured
from benchmarks.harness.slices import Samples
from devstack.host import worker
from devstack.supervisor import Program, Supervisor
from protos import open_inference_pb2 as pb
from shared.scoring import images
from shared.settings import Datatype, Layout, Preprocessing

UINT8, FP32 = "nhwc-uint8", "nchw-fp32"
CONCURRENT, ROUNDS, SECONDS = 16, 4, 0.8
FILES = 8
ADDED_MS = 1.0
INFER = "/inference.GRPCInferenceService/ModelInfer"
GATEWAY, GATEWAY_FP32 = "gateway, UINT8", "gateway, FP32"
BY_GRPC, BY_HTTP, FLOOR, DECODING = (
    "Pillow and gRPC",
    "Pillow and Triton's HTTP",
    "gRPC alone",
    "the gateway's decoding",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    count, size = count_and_size("benchmarks.triton", 200, arguments)
    return exit_code(lambda: _run(count, jpeg(size)))


def _run(count: int, file: bytes) -> None:
    async def supervised(folder: Path) -> None:
        supervisor = Supervisor()
        await supervisor.run(_measure(supervisor, folder, count, file))

    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(supervised(Path(folder)))
    finally:
        worker.stop()


async def _measure(supervisor: Supervisor, folder: Path, count: int, file: bytes) -> None:
    http = free_port()
    arguments = ["--http-port", str(http), "--models", UINT8, FP32]
    (address,) = await supervisor.start(Program("Triton", "devstack.triton", arguments, folder / "triton.log"))
    app = await App.load(_settings(address))
    load = CpuLoad(supervisor.pids().values())
    async with aiohttp.ClientSession() as session, grpc.aio.insecure_channel(address) as channel:
        infer: Any = channel.unary_unary(INFER)
        prepared, decode = _message(pixels_of(file)), partial(_decoded, file)
        calls: dict[str, Call] = {
            GATEWAY: partial(_scored, app, UINT8, file),
            GATEWAY_FP32: partial(_scored, app, FP32, file),
            BY_GRPC: partial(_by_grpc, infer, file),
            BY_HTTP: partial(_by_http, session, f"http://127.0.0.1:{http}/v2/models/{UINT8}/infer", file),
            FLOOR: lambda: infer(prepared, timeout=10),
            DECODING: decode,
        }
        rows = await interleaved(calls, count, load)
        print(f"A JPEG of {len(file)} bytes, one at a time ({rows[GATEWAY]['noisy']} noisy batches):\n")
        print_table(rows)
        added = rows[GATEWAY]["p50_ms"] - rows[FLOOR]["p50_ms"] - rows[DECODING]["p50_ms"]
        print(f"\nadded by the gateway beyond the call and decoding: {added:.2f} ms (limit {ADDED_MS})")
        several = [file] * FILES
        rows = await interleaved(
            {GATEWAY: partial(_form_scored, app, several), BY_GRPC: partial(_by_grpc, infer, *several)},
            max(count // FILES, 8),
            load,
        )
        print(f"\n{FILES} photographs in a request, one request at a time:\n")
        print_table(rows)
        del calls[DECODING]
        await _print_concurrent(calls)


async def _print_concurrent(calls: dict[str, Call]) -> None:
    """Slices of concurrent calls by turns; the processor time is this process's, with all its threads."""
    samples = {name: Samples() for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            await closed_loop(call, CONCURRENT, 0.1)
            before = time.process_time()
            taken = await closed_loop(call, CONCURRENT, SECONDS)
            taken.server_cpu = time.process_time() - before
            samples[name].taken.append(Measured(taken, 0.0))
    print(f"\n{f'{CONCURRENT} at a time':<32}{'calls/s':>9}{'p50, ms':>9}{'CPU, ms':>9}")
    found = {name: one.summary() for name, one in samples.items()}
    for name, row in found.items():
        print(f"{name:<32}{row['rps']:9.0f}{row['p50_ms']:9.1f}{row['server_cpu_ms']:9.2f}")
    ratio = found[GATEWAY]["server_cpu_ms"] / found[GATEWAY_FP32]["server_cpu_ms"]
    print(f"\nprocessor time, UINT8 over FP32: {ratio:.2f}")


def _settings(address: str) -> dict[str, str]:
    settings = {"SERVICES": f"{UINT8},{FP32}", "ROTATION_SCHEDULE": "0 */5 * * * *"}
    for model in (UINT8, FP32):
        own = {"ADDRESS": "127.0.0.1", "PORT": address.rpartition(":")[2], "TLS": "insecure-no-key-is-sent"}
        own |= {"PROTOCOL": "open-inference", "MODEL": model, "MAX_CONCURRENCY": "1024"}
        settings |= {f"SERVICE__{model.upper().replace('-', '_')}__{key}": value for key, value in own.items()}
    return settings


async def _scored(app: App, model: str, file: bytes) -> None:
    headers = {"Content-Type": "image/jpeg"}
    await app.score(app.request(f"/api/services/{model}/score", headers, file))


async def _form_scored(app: App, files: Sequence[bytes]) -> None:
    content_type, body = form(files)
    await app.score(app.request(f"/api/services/{UINT8}/score", {"Content-Type": content_type}, body))


async def _decoded(file: bytes) -> None:
    images.to_pixels(file, Preprocessing(), 10**8, datatype=Datatype.UINT8, layout=Layout.NHWC)


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


if __name__ == "__main__":
    sys.exit(main())
