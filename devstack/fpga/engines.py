"""What computes the scores: the real model, for truth, or a simulated accelerator, for speed and timing."""

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack.fpga import timer as timers
from devstack.fpga.requests import Batch, Refusal

Scores = NDArray[np.float32]
Output = Literal["probabilities", "logits", "features"]


class Engine(Protocol):
    """Scores batches. ``output_shape`` is the shape of one image's scores."""

    output_shape: tuple[int, ...]

    async def score(self, batch: Batch) -> Scores:
        """Score N images; the answer is float32 [N, *output_shape].

        Raises:
            Refusal: an image cannot be decoded.
        """
        ...

    def close(self) -> None: ...


class ModelEngine:
    """EfficientNet-Lite0 on the processor, in one thread: one call at a time, like the accelerator."""

    # Larger batches are scored in parts: they gain nothing, and the activations of many images need much memory.
    _PART = 8

    def __init__(self, path: Path, output: Output = "probabilities") -> None:
        # onnxruntime takes 0.1 s to import, which the simulated engine need not wait for.
        from devstack.fpga.inference import Session  # noqa: PLC0415

        self._session = Session(path, output)
        size = self._session.size
        self.output_shape: tuple[int, ...] = (1, 1, size) if output == "features" else (size,)
        self._scoring = ThreadPoolExecutor(1, "fpga-score")
        self._decoding = ThreadPoolExecutor(2, "fpga-decode")

    async def score(self, batch: Batch) -> Scores:
        starts = range(0, len(batch), self._PART)
        scores = np.concatenate([await self._score_part(batch[at : at + self._PART], at) for at in starts])
        return scores.reshape(len(batch), *self.output_shape)

    def close(self) -> None:
        for pool in (self._scoring, self._decoding):
            pool.shutdown(cancel_futures=True)

    async def _score_part(self, part: Batch, start: int) -> Scores:
        loop = asyncio.get_running_loop()
        if isinstance(part, np.ndarray):
            pixels = part
        else:
            pixels = await loop.run_in_executor(self._decoding, _decode, part, start)
        return await loop.run_in_executor(self._scoring, self._session.run, pixels)

    def __repr__(self) -> str:
        return f"<ModelEngine {self._session!r}>"


class SimulatedEngine:
    """Answers in the time that an accelerator would take, without computing anything that means something.

    One image is in work at a time, for ``latency_ms``. The scores come from a checksum of the image's bytes: the
    same image always gets the same ones, another gets others. Image files are not decoded.
    """

    def __init__(
        self,
        latency_ms: float = 1.8,
        *,
        classes: int = 1000,
        output: Output = "probabilities",
        timer: timers.Timer | None = None,
    ) -> None:
        self.output_shape: tuple[int, ...] = (1, 1, classes) if output == "features" else (classes,)
        self._output = output
        self._classes = classes
        self._device = Device(latency_ms, timer)
        falling = 1 / np.arange(2, classes + 1, dtype=np.float64)
        # Written twice in a row, so that any rotation of it is a slice.
        self._others = np.tile(np.concatenate([[0], falling / falling.sum()]), 2).astype(np.float32)

    async def score(self, batch: Batch) -> Scores:
        scores = np.empty((len(batch), self._classes), np.float32)
        for row, image in zip(scores, batch, strict=True):
            self._fill(row, zlib.crc32(image if isinstance(image, bytes) else np.ascontiguousarray(image)))
        await self._device.work(len(batch))
        return scores.reshape(len(batch), *self.output_shape)

    def close(self) -> None:
        self._device.close()

    def _fill(self, row: Scores, checksum: int) -> None:
        """A distribution with one peak between 0.5 and 0.9; the checksum says where and how high."""
        peak = 0.5 + 0.4 * checksum / 0xFFFFFFFF
        best = checksum % self._classes
        start = self._classes - best
        np.multiply(self._others[start : start + self._classes], np.float32(1 - peak), out=row)
        row[best] = peak
        if self._output == "logits":
            np.log(row, out=row)

    def __repr__(self) -> str:
        return f"<SimulatedEngine {self._output} {self._device!r}>"


class Device:
    """Something that has one image in work at a time, for a fixed time each; callers wait their turn.

    A call that had to wait starts at the moment the one before it ended, not at the later one at which the event loop
    woke it: so the rate is the device's, not the loop's. Measured at 1.8 ms: 1.86 ms for a lone image, and 555 images
    a second when calls queue.
    """

    def __init__(self, latency_ms: float, timer: timers.Timer | None = None) -> None:
        if latency_ms < 0:
            raise ValueError(f"the latency must not be negative, and {latency_ms} ms is")
        self._latency = round(latency_ms * 1e6)
        self._timer = timer or timers.best()
        self._turn = asyncio.Lock()
        self._free_at = 0

    async def work(self, images: int) -> None:
        if not self._latency:
            return
        arrived = self._timer.now()
        async with self._turn:
            self._free_at = max(arrived, self._free_at) + images * self._latency
            await self._timer.until(self._free_at)

    def close(self) -> None:
        self._timer.close()

    def __repr__(self) -> str:
        return f"<Device {self._latency / 1e6} ms>"


def _decode(files: list[bytes], start: int) -> Scores:
    from devstack.model import preprocess  # noqa: PLC0415 - Pillow, which the simulated engine need not load

    try:
        return preprocess.decode_all(files, start)
    except preprocess.ImageError as error:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
