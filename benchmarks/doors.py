"""What the inference protocols' doors cost: ``python -m benchmarks.doors``.

As in ``benchmarks.gateway_share``, the app runs in this process, invoked by Microsoft's worker library, and the
services behind it are processes of their own with an engine that takes no time. Everything that is compared is
interleaved in one run, in turn:

- the same JPEG by ``POST /api/score``, by TensorFlow Serving's REST API (JSON with base64, answered by all scores as
  JSON), and by the Open Inference Protocol (bytes both ways);
- one tensor of 224 x 224 x 3 32-bit floats by the Open Inference Protocol's binary extension, and by ``Predict`` called
  directly on the gateway's own live channel, its answer not even parsed.

Twice as many rounds are taken as asked for, and those kept during which other processes used the machine least.
"""

import argparse
import base64
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.machine import Load
from benchmarks.rig import App, Bench, Invalid, Request, at_least, jpeg, run
from protos.serving_pb2 import PredictResponse
from shared.fpga import channels
from shared.gateway import gateway
from shared.scoring.tensors import RequestTemplate

ROUNDS_A_BATCH = 100
WARM_UP = 50
MORE_MS, TIMES = 0.15, 2.0

SCORE, TF, OIP = "POST /api/score", "TensorFlow Serving, JSON", "Open Inference, binary"
TENSOR, DIRECT = "Open Inference, FP32", "direct Predict, FP32"

type Leg = Callable[[], Awaitable[object]]


@dataclass
class Batch:
    """The seconds that each leg took, by its name; ``others`` is how much of the machine other processes used."""

    times: dict[str, list[float]]
    others: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors")
    add = parser.add_argument
    add("--count", type=at_least(2), default=2000, metavar="N", help="calls of each kind (default: %(default)s)")
    add("--bytes", type=at_least(2000), default=20_000, metavar="N", help="of the JPEG (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda bench: measure(bench, options.count, options.bytes))


async def measure(bench: Bench, count: int, size: int) -> None:
    """Take the samples, and print what they say."""
    app = await App.load(bench.settings(await bench.start_services()))
    image = jpeg(size)
    pixels = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    load = Load(bench.supervisor.pids().values())
    print(f"A JPEG of {len(image)} bytes:\n")
    times = await take(image_legs(app, image), count, load)
    report(times)
    more = {name: 1000 * (median(times[name]) - median(times[SCORE])) for name in (TF, OIP)}
    for name, milliseconds in more.items():
        verdict = "met" if milliseconds <= MORE_MS else "NOT met"
        print(f"{name} adds {milliseconds:.3f} ms to {SCORE} (goal {MORE_MS}: {verdict})")
    print(f"\nA tensor of {pixels.nbytes} bytes:\n")
    times = await take(await tensor_legs(app, pixels), count, load)
    report(times)
    ratio = median(times[TENSOR]) / median(times[DIRECT])
    print(f"{TENSOR} takes {ratio:.2f} times as long (goal {TIMES}: {'met' if ratio <= TIMES else 'NOT met'})")


def image_legs(app: App, image: bytes) -> Mapping[str, Leg]:
    """The same image by each door."""
    rows = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
    element = len(image).to_bytes(4, "little") + image
    infer = binary(app, {"datatype": "BYTES", "shape": [1]}, element)
    score = app.request("/api/score", {"Content-Type": "image/jpeg"}, image)
    predict = app.request("/v1/models/imagenet:predict", {"Content-Type": "application/json"}, rows)
    return {name: leg(app, request) for name, request in ((SCORE, score), (TF, predict), (OIP, infer))}


async def tensor_legs(app: App, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Mapping[str, Leg]:
    """The same tensor through the gateway, and past it."""
    infer = binary(app, {"datatype": "FP32", "shape": list(pixels.shape)}, pixels.astype("<f4").tobytes())
    await app.score(infer)  # brings the channel into being
    return {TENSOR: leg(app, infer), DIRECT: await direct_call(pixels)}


def binary(app: App, tensor: Mapping[str, object], content: bytes) -> Request:
    """An infer request with its tensor, and the wish for the answer's, as bytes behind the JSON."""
    head = json.dumps(
        {
            "inputs": [{"name": "images", **tensor, "parameters": {"binary_data_size": len(content)}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return app.request("/v2/models/imagenet/infer", headers, head + content)


def leg(app: App, request: Request) -> Leg:
    """One request, again and again; it has to be answered by 200."""
    return lambda: app.score(request)


async def direct_call(pixels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Leg:
    """The call that the gateway of this process makes for ``pixels``, on its own live channel."""
    service = gateway().service(None)
    assert service.predictor.credentials is not None  # noqa: S101 - the local stack has TLS and keys
    credentials = await service.predictor.credentials.current()
    with service.predictor._slot.lease(credentials.pins) as lease:  # noqa: SLF001 - another channel is another connection
        predict: Callable[..., Awaitable[bytes]] = lease._channel.unary_unary(channels.PREDICT)  # noqa: SLF001 - as above
    own = service.settings
    template = RequestTemplate(model=own.model, signature=own.signature, input_name=own.input_name)
    request, metadata = template.tensor(pixels), (("authorization", credentials.keys[0]),)
    if not PredictResponse.FromString(await predict(request, timeout=10, metadata=metadata)).outputs:
        raise Invalid("The service answered without scores.")
    return lambda: predict(request, timeout=10, metadata=metadata)


async def take(legs: Mapping[str, Leg], count: int, load: Load) -> dict[str, list[float]]:
    """The seconds of ``count`` calls of each leg: the calmest half of twice as many."""
    await rounds(legs, min(count, WARM_UP))
    size = min(count, ROUNDS_A_BATCH)
    batches = []
    for _ in range(2 * max(1, round(count / size))):
        load.others()
        batch = await rounds(legs, size)
        batch.others = load.others()
        batches.append(batch)
    kept = sorted(batches, key=lambda batch: batch.others)[: len(batches) // 2]
    return {name: [seconds for batch in kept for seconds in batch.times[name]] for name in legs}


async def rounds(legs: Mapping[str, Leg], count: int) -> Batch:
    """Call each leg so many times, in turn; which goes first changes from round to round."""
    batch = Batch({name: [] for name in legs})
    order = list(legs.items())
    for _ in range(count):
        for name, call in order:
            start = time.perf_counter()
            await call()
            batch.times[name].append(time.perf_counter() - start)
        order.append(order.pop(0))
    return batch


def report(times: Mapping[str, Sequence[float]]) -> None:
    """Print each leg's times."""
    print(f"{'milliseconds':<28}{'median':>9}{'p95':>9}")
    for name, taken in times.items():
        print(f"{name:<28}{1000 * median(taken):9.3f}{1000 * sorted(taken)[int(len(taken) * 0.95)]:9.3f}")


if __name__ == "__main__":
    sys.exit(main())
