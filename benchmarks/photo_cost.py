"""What a photograph of 12 megapixels costs: memory, time, and how long the event loop stood still.

    python -m benchmarks.photo_cost            # every case
    python -m benchmarks.photo_cost jpeg heic  # some

The real scorer prepares the photograph; only the inference service is replaced, by one that answers at once. Each
measurement has a process of its own. Memory is the peak of the resident set (VmHWM of proc(5), Linux) over what the
process held before, with the file already read and the code already run once on a small photograph.

The event loop's pauses are those of a task that wants to wake every millisecond: the longest and the 99th percentile,
less the time for which the loop's thread was ready but other programs had the processor (schedstat). What remains is
the interpreter's lock, held by the decoding thread, and the loop's own work; on a busy machine also the time in which
the holder of the lock had no processor. `wall` is the longest pause as it was.
"""

import argparse
import asyncio
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from devstack.photos import photo
from protos.serving_pb2 import PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.admission import Admission
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, ServiceSettings
from shared.telemetry import Call

SIZE = (4000, 3000)
REPEATS = 20


def make(case: str) -> bytes:
    """A photograph of 12 megapixels with a camera's grain."""
    with Image.open(photo("coffee")) as small:
        large = small.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).integers(-7, 8, (SIZE[1], SIZE[0], 1), dtype=np.int16)
    picture = Image.fromarray((np.asarray(large) + grain).clip(0, 255).astype(np.uint8))
    out = io.BytesIO()
    CASES[case](picture, out)
    return out.getvalue()


def _jpeg(**options: object) -> Callable[[Image.Image, io.BytesIO], None]:
    return lambda picture, out: picture.save(out, "JPEG", **{"quality": 90, **options})


def _on_its_side(picture: Image.Image, out: io.BytesIO) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(out, "JPEG", quality=90, exif=exif)


def _heic(picture: Image.Image, out: io.BytesIO) -> None:
    import pillow_heif  # noqa: PLC0415 - only this case needs it

    pillow_heif.register_heif_opener()
    picture.save(out, "HEIF", quality=80)


CASES: dict[str, Callable[[Image.Image, io.BytesIO], None]] = {
    "jpeg": _jpeg(),
    "jpeg-on-its-side": _on_its_side,
    "jpeg-over-4-mib": _jpeg(quality=97, subsampling=0),
    "jpeg-progressive": _jpeg(progressive=True),
    "jpeg-cmyk": lambda picture, out: picture.convert("CMYK").save(out, "JPEG", quality=90),
    "png": lambda picture, out: picture.save(out, "PNG", compress_level=1),
    "webp": lambda picture, out: picture.save(out, "WEBP", quality=85, method=0),
    "gif": lambda picture, out: picture.quantize(64).save(out, "GIF"),
    "tiff-lzw": lambda picture, out: picture.save(out, "TIFF", compression="tiff_lzw"),
    "avif": lambda picture, out: picture.save(out, "AVIF", quality=75, speed=10),
    "heic": _heic,
}


def measure(file: Path, form: InputForm) -> dict[str, float]:
    """Run in a fresh process: score the photograph with the real scorer, and tell what it cost."""
    data = file.read_bytes()
    with ThreadPoolExecutor(1) as executor:
        limits = Limits(image_bytes=100_000_000)
        service = ServiceSettings("bench", "nowhere", input_form=form)
        scorer = Scorer(service, limits, _answer_at_once, executor, Admission(1, service.deadline_seconds))
        return asyncio.run(_measure(scorer, data))


async def _measure(scorer: Scorer, data: bytes) -> dict[str, float]:
    async def score(image: bytes) -> None:
        await scorer.score([Upload("photo", image)], Ranking(), Call("bench", time.monotonic() + 60))

    await score(_small_like(data))
    before = _memory("VmRSS")
    _forget_the_peak()
    await score(data)
    peak = _memory("VmHWM") - before
    seconds: list[float] = []
    pauses = await _pauses(lambda: _repeat(score, data, seconds))
    own = sorted(pause.own for pause in pauses)
    return {
        "megabytes": peak / 1e6,
        "milliseconds": statistics.median(seconds) * 1e3,
        "longest": own[-1] * 1e3,
        "usual": own[len(own) * 99 // 100] * 1e3,
        "wall": max(pause.wall for pause in pauses) * 1e3,
    }


async def _repeat(score: Callable[[bytes], Awaitable[None]], data: bytes, seconds: list[float]) -> None:
    for _ in range(REPEATS):
        start = time.perf_counter()
        await score(data)
        seconds.append(time.perf_counter() - start)


class Pause(NamedTuple):
    """How much later than its millisecond the ticker woke, in seconds; ``own``: not for want of a processor."""

    wall: float
    own: float


async def _pauses(work: Callable[[], Awaitable[None]]) -> list[Pause]:
    """The ticker's pauses while ``work`` was done."""
    pauses: list[Pause] = []

    async def tick() -> None:
        while True:
            start, waited = time.perf_counter(), _waited()
            await asyncio.sleep(0.001)
            wall = time.perf_counter() - start - 0.001
            pauses.append(Pause(wall, max(0.0, wall - (_waited() - waited))))

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    pauses.clear()
    await work()
    await asyncio.sleep(0.002)
    ticker.cancel()
    await asyncio.gather(ticker, return_exceptions=True)
    return pauses


def _waited() -> float:
    """Seconds for which this thread was ready to run but had no processor (the second of schedstat's three numbers)."""
    numbers = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text(encoding="ascii")
    return int(numbers.split()[1]) / 1e9


def _small_like(data: bytes) -> bytes:
    """A small photograph of the same kind, so that the imports and first uses are not measured."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        arguments = [sys.executable, "-m", "benchmarks.photo_cost", "--shrink", file.name]
        return subprocess.run(arguments, check=True, capture_output=True).stdout  # noqa: S603 - this very program


def _shrunk(file: Path) -> bytes:
    import pillow_heif  # noqa: PLC0415 - in a process of its own

    pillow_heif.register_heif_opener()
    out = io.BytesIO()
    with Image.open(file) as image:
        small = image.resize((600, 400))
        like = {"progressive": image.info.get("progressive", 0), "exif": image.getexif()}
        small.save(out, image.format, **(like if image.format == "JPEG" else {}))
    return out.getvalue()


async def _answer_at_once(_: bytes, __: Call) -> bytes:
    await asyncio.sleep(0)  # as a call does, which waits for the network
    return _ANSWER


def _answer() -> bytes:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=1000)])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=[0.001] * 1000)
    return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()


_ANSWER = _answer()


def _memory(name: str) -> int:
    """A line of proc(5)'s status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _forget_the_peak() -> None:
    """Set VmHWM back to what is held now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _print_case(case: str, folder: Path) -> None:
    file = folder / case
    file.write_bytes(make(case))
    for form in InputForm:
        arguments = [sys.executable, "-m", "benchmarks.photo_cost", "--measure", str(file), form]
        done = subprocess.run(arguments, check=True, capture_output=True)  # noqa: S603 - this very program
        cost = json.loads(done.stdout)
        print(
            f"{case:18} {file.stat().st_size / 1e6:6.1f} {form:8} {cost['megabytes']:8.1f} "
            f"{cost['milliseconds']:8.1f} {cost['longest']:8.2f} {cost['usual']:8.2f} {cost['wall']:8.2f}",
            flush=True,
        )


def main() -> None:
    """Print a table of all cases, or do one of the parts that need a process of their own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo_cost", description="What a 12 MP photo costs.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of: {', '.join(CASES)}; all when left out")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--shrink", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shrink:
        sys.stdout.buffer.write(_shrunk(options.shrink))
        return
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), InputForm(options.measure[1]))))
        return
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"unknown case {unknown[0]!r}; there are {', '.join(CASES)}")
    print(f"{'photograph':18} {'MB':>6} {'form':8} {'peak MB':>8} {'ms':>8} {'pause':>8} {'p99':>8} {'wall ms':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases or CASES:
            _print_case(case, Path(folder))


if __name__ == "__main__":
    main()
