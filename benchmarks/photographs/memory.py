"""What a photograph of 12 megapixels costs: memory, time, and pauses of the event loop.

    python -m benchmarks.photographs.memory            # every case
    python -m benchmarks.photographs.memory jpeg heic  # some

The real scorer prepares the photograph; only the inference service is replaced, by one that answers at once. Each
measurement has a process of its own. Memory is the peak of the resident set (VmHWM of proc(5), Linux) over that before,
with the file already read and the code already run once on a small photograph.

The event loop's pauses are those of a task that should wake up every millisecond: the longest and the 99th percentile,
without the time for which the loop's thread was ready but other programs had the processor (schedstat). What remains is
the interpreter's lock, held by the decoding thread, and the loop's own work; on a busy machine also the time in which
the holder of the lock had no processor.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.harness.command import exit_code
from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.images import large_photograph
from benchmarks.harness.paths import ROOT
from benchmarks.photographs.formats import file, oriented
from devstack.fpga import responses
from protos.serving_pb2 import ModelSpec
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.memory import Memory
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, ServiceSettings
from shared.telemetry import RequestContext
from tests.support.fake_upstream import upstream

REPEATS = 20
_TIMEOUT = 200

type Write = Callable[[Image.Image], bytes]

CASES: Mapping[str, Write] = {
    "jpeg": lambda image: file(image, "JPEG", quality=90),
    "jpeg-rotated": lambda image: oriented(image, 6, "JPEG", quality=90),
    "jpeg-over-4-mib": lambda image: file(image, "JPEG", quality=97, subsampling=0),
    "jpeg-progressive": lambda image: file(image, "JPEG", quality=90, progressive=True),
    "jpeg-cmyk": lambda image: file(image.convert("CMYK"), "JPEG", quality=90),
    "png": lambda image: file(image, "PNG", compress_level=1),
    "webp": lambda image: file(image, "WEBP", quality=85, method=0),
    "gif": lambda image: file(image.quantize(64), "GIF"),
    "tiff-lzw": lambda image: file(image, "TIFF", compression="tiff_lzw"),
    "avif": lambda image: file(image, "AVIF", quality=75, speed=10),
    "heic": lambda image: file(image, "HEIF", quality=80),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of all cases, or make one measurement in this process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs.memory")
    what = f"some of {', '.join(CASES)}, or all"
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=CASES, help=what)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        large, small, form = options.measure
        print(json.dumps(asyncio.run(_measure(Path(large).read_bytes(), Path(small).read_bytes(), InputForm(form)))))
        return 0
    return exit_code(lambda: _print_table(options.cases or list(CASES)))


def _print_table(cases: Sequence[str]) -> None:
    print(f"{'photograph':18} {'MB':>6} {'form':8} {'peak MB':>8} {'ms':>8} {'pause':>8} {'p99':>8}")
    for case in cases:
        for form in (InputForm.ENCODED, InputForm.TENSOR):
            cost = measured_apart(CASES[case], form)
            numbers = "".join(f" {cost[name]:8.2f}" for name in ("megabytes", "milliseconds", "longest", "usual"))
            print(f"{case:18} {cost['file']:6.1f} {form:8}{numbers}", flush=True)


def measured_apart(write: Write, form: InputForm) -> Mapping[str, float]:
    """Measure in a fresh process; ``write`` makes the file. Megabytes (10^6 bytes) and milliseconds.

    Raises:
        BenchmarkFailed: it cannot be measured. PhotoError: no sample photographs are installed.
    """
    picture = large_photograph()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("large", "small")]
        for path, image in zip(files, (picture, picture.resize((600, 400))), strict=True):
            path.write_bytes(write(image))
        command = [sys.executable, "-m", "benchmarks.photographs.memory", "--measure", *map(str, files), form]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT, cwd=ROOT)  # noqa: S603 - this very program
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BenchmarkFailed(f"The memory cannot be measured: {reason}")
        return {**json.loads(done.stdout), "file": files[0].stat().st_size / 1e6}


async def _measure(large: bytes, small: bytes, form: InputForm) -> dict[str, float]:
    response = responses.prediction(ModelSpec(), np.full((1, 1000), 0.001, np.float32))

    async def respond(_: bytes, __: RequestContext) -> bytes:
        await asyncio.sleep(0)  # as a call does, which waits for the network
        return response

    async def score(image: bytes) -> float:
        started = time.perf_counter()
        await scorer.score([Upload("photo", image)], Ranking(), RequestContext("bench", time.monotonic() + 60))
        return time.perf_counter() - started

    with ThreadPoolExecutor(1) as executor:
        service = ServiceSettings("bench", "nowhere", input_form=form)
        limits = Limits(image_bytes=100_000_000)
        decoder = Decoder(Memory(1_000_000_000), limits.image_pixels)
        scorer = Scorer(upstream(respond, service), limits, decoder, executor)
        await score(small)  # imports, and first uses
        before = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # noqa: ASYNC240 - sets VmHWM back to VmRSS
        await score(large)
        peak = _memory_mb("VmHWM") - before
        pauses: list[float] = []
        watching = asyncio.create_task(_add_pauses(pauses))
        await asyncio.sleep(0.01)
        pauses.clear()
        seconds = [await score(large) for _ in range(REPEATS)]
        await asyncio.sleep(0.002)
        watching.cancel()
    longest, usual = max(pauses), sorted(pauses)[len(pauses) * 99 // 100]
    return {
        "megabytes": peak,
        "milliseconds": median(seconds) * 1e3,
        "longest": longest * 1e3,
        "usual": usual * 1e3,
    }


def _memory_mb(line: str) -> float:
    """A line of this process's status (proc(5)), in MB (10^6 bytes)."""
    status = dict(each.split(":", 1) for each in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status[line].split()[0]) * 1024 / 1e6


async def _add_pauses(pauses: list[float]) -> None:
    """Add by how many seconds this task wakes up late, without the time for which the thread had no processor."""
    while True:
        start, waited = time.perf_counter(), _waited()
        await asyncio.sleep(0.001)
        late = time.perf_counter() - start - 0.001
        pauses.append(max(0.0, late - (_waited() - waited)))


def _waited() -> float:
    """Seconds for which this thread was ready to run but had no processor (the second of schedstat's three numbers)."""
    numbers = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text(encoding="ascii")
    return int(numbers.split()[1]) / 1e9


if __name__ == "__main__":
    sys.exit(main())
