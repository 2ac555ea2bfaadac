"""Many images at once that are large once decoded: the worker's memory, and whether its event loop still answers.

::

    python -m benchmarks.photographs.burst [--uploads 64] [--megapixels 49] [--memory 0]

The worker runs in the local Functions host. Its own processes are included: the host, and those that decode.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice

import aiohttp
import psutil  # type: ignore[import-untyped]  # published without type information
from PIL import Image

from benchmarks.harness import testbed
from benchmarks.harness.testbed import PRODUCTION, Testbed
from benchmarks.photographs.formats import file

_SERVICES = ("imagenet", "imagenet-tensor")
_FORMATS = ("WEBP", "PNG", "AVIF", "HEIF")


@dataclass
class Findings:
    """Megabytes of resident memory before and at the peak, seconds that ``/api/health/live`` took, and the answers."""

    before: float
    peak: float = 0.0
    pauses: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        answers = ", ".join(f"{count} x {answer}" for answer, count in sorted(self.answers.items()))
        return (
            f"memory {self.before:.0f} MB, at most {self.peak:.0f} MB;"
            f" live at most {max(self.pauses) * 1000:.0f} ms of {len(self.pauses)} times; {answers}"
        )


def images(megapixels: int) -> Iterator[bytes]:
    """Small files of large images, of all formats in turn."""
    side = int((megapixels * 1_000_000) ** 0.5)
    picture = Image.new("RGB", (side, side), (40, 90, 160))
    return cycle([file(picture, name) for name in _FORMATS])


async def measure(bed: Testbed, options: argparse.Namespace) -> Findings:
    """Send the uploads, and watch the worker meanwhile."""
    settings = {
        **bed.settings(await bed.start_services()),
        **PRODUCTION,
        "IMAGE_MEMORY_BYTES": str(options.memory),
        **{f"SERVICE__{name.upper().replace('-', '_')}__DEADLINE_MS": "60000" for name in _SERVICES},
    }
    url, pid = await bed.start_gateway(settings)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as client:
        small = next(images(1))
        for service in _SERVICES:
            async with client.post(f"/api/services/{service}/score", data=small) as response:
                assert response.status == 200, await response.text()  # noqa: S101 - a fault of the benchmark
        found = Findings(_memory(pid))
        watching = asyncio.create_task(_watch(client, pid, found))
        uploads = zip(cycle(_SERVICES), islice(images(options.megapixels), options.uploads), strict=False)
        await asyncio.gather(*(_upload(client, service, image, found) for service, image in uploads))
        watching.cancel()
    return found


async def _upload(client: aiohttp.ClientSession, service: str, image: bytes, found: Findings) -> None:
    async with client.post(f"/api/services/{service}/score", data=image) as response:
        body = await response.json(content_type=None)
        found.answers[f"{response.status} {body.get('type', '').rpartition(':')[2]}".strip()] += 1


async def _watch(client: aiohttp.ClientSession, pid: int, found: Findings) -> None:
    while True:
        started = time.perf_counter()
        async with client.get("/api/health/live") as response:
            await response.read()
        found.pauses.append(time.perf_counter() - started)
        found.peak = max(found.peak, await asyncio.to_thread(_memory, pid))
        await asyncio.sleep(0.01)


def _memory(pid: int) -> float:
    host = psutil.Process(pid)
    total = 0
    for process in (host, *host.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> None:
    """Print the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=64)
    parser.add_argument("--megapixels", type=int, default=49)
    parser.add_argument("--memory", type=int, default=0, help="IMAGE_MEMORY_BYTES")
    options = parser.parse_args()
    print(testbed.run(lambda bed: measure(bed, options)))


if __name__ == "__main__":
    main()
