"""What the endpoints of the inference protocols cost: ``python -m benchmarks.protocol_endpoints``.

The app runs in this process, invoked by Microsoft's worker library; the services are processes, with an
engine that takes no time. Compared by turns, in one run:

- the same JPEG by ``POST /api/score``, by TensorFlow Serving's REST API (JSON with base64, answered by all scores as
  JSON), and by the Open Inference Protocol (binary in both directions);
- one tensor of 224 x 224 x 3 32-bit floats by the Open Inference Protocol's binary extension, and by ``Predict`` called
  directly on the gateway's own open channel, with the response not even parsed.
"""

import sys
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.harness.app import App, infer_request, predict_request, score_request
from benchmarks.harness.command import count_and_size, exit_code
from benchmarks.harness.images import jpeg
from benchmarks.harness.interleaved import interleaved, print_table
from benchmarks.harness.internals import live_channel
from benchmarks.harness.machine import CpuLoad
from benchmarks.harness.testbed import Testbed, run
from benchmarks.peers.forwarding import pixels_request

# What a protocol may add to a request, and how many times as long as a direct call a tensor may take.
ADDED_MS, TIMES = 0.15, 2.0

SCORE, TF, OIP = "POST /api/score", "TensorFlow Serving, JSON", "Open Inference, binary"
TENSOR, DIRECT = "Open Inference, FP32", "direct Predict, FP32"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    count, size = count_and_size("benchmarks.protocol_endpoints", 2000, arguments)
    return exit_code(lambda: run(lambda testbed: measure(testbed, count, size)))


async def measure(testbed: Testbed, count: int, size: int) -> None:
    """Measure, and print."""
    app = await App.load(testbed.settings(await testbed.start_services()))
    load = CpuLoad(testbed.supervisor.pids().values())
    file, pixels = jpeg(size), np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    requests = {SCORE: score_request(app, file), TF: predict_request(app, file), OIP: infer_request(app, file)}
    rows = await interleaved({name: partial(app.score, each) for name, each in requests.items()}, count, load)
    print(f"A JPEG of {len(file)} bytes ({rows[SCORE]['noisy']} noisy batches):\n")
    print_table(rows)
    for name in (TF, OIP):
        added = rows[name]["p50_ms"] - rows[SCORE]["p50_ms"]
        print(f"{name} adds {added:.3f} ms to {SCORE} ({_verdict(added, ADDED_MS)})")
    infer, predict = infer_request(app, pixels), (await live_channel()).predict()
    message = pixels_request(pixels).SerializeToString()
    rows = await interleaved({TENSOR: lambda: app.score(infer), DIRECT: lambda: predict(message)}, count, load)
    print(f"\nA tensor of {pixels.nbytes} bytes ({rows[TENSOR]['noisy']} noisy batches):\n")
    print_table(rows)
    ratio = rows[TENSOR]["p50_ms"] / rows[DIRECT]["p50_ms"]
    print(f"{TENSOR} takes {ratio:.2f} times as long ({_verdict(ratio, TIMES)})")


def _verdict(value: float, limit: float) -> str:
    return f"limit {limit}: {'met' if value <= limit else 'NOT met'}"


if __name__ == "__main__":
    sys.exit(main())
