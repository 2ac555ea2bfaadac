"""The engines that compute scores: the real model, or a simulated accelerator for measurements."""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
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
Decode = Callable[[list[bytes], int], Scores]


class Engine(Protocol):
    """Scores batches. ``output_shape`` is the shape of one image's scores."""

    output_shape: tuple[int, ...]

    async def score(self, batch: Batch) -> Scores:
        """Score N images; returns float32 [N, *output_shape].

        Raises:
            Refusal: an image cannot be decoded.
        """
        ...

    def close(self) -> None: ...


class ModelEngine:
    """A model on the processor, in one thread: one call at a time, like the accelerator."""

    # Larger batches are scored in parts: they are not faster, and need much memory.
    _PART = 8

    def __init__(self, path: Path | None = None, output: str = "probabilities", decode: Decode | None = None) -> None:
        """``path`` is an ONNX file (default: the local model), ``output`` one of its outputs.

        ``decode`` makes float32 [N, 224, 224, 3] of image files, given the index of the first; it raises ImageError.
        """
        # The simulated engine needs none of these, which take long to import.
        from devstack.fpga.inference import Session  # noqa: PLC0415 - see the comment
        from devstack.model import decode_all, ensure_built  # noqa: PLC0415 - see the comment

        self._session = Session(path or ensure_built(), output)
        self._decode = decode or decode_all
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
            pixels = await loop.run_in_executor(self._decoding, self._decode_files, part, start)
        return await loop.run_in_executor(self._scoring, self._session.run, pixels)

    def _decode_files(self, files: list[bytes], start: int) -> Scores:
        from devstack.model import ImageError  # noqa: PLC0415 - see __init__()

        try:
            return self._decode(files, start)
        except ImageError as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None

    def __repr__(self) -> str:
        return f"<ModelEngine {self._session!r}>"


class SimulatedEngine:
    """Answers in the time of an accelerator, with meaningless scores.

    It processes one image at a time, for ``latency_ms`` each; or, with ``batch``, up to so many together in that time.
    The scores depend on a checksum of the image's bytes, so that the same image always gets the same ones. Image files
    are not decoded.
    """

    def __init__(
        self,
        latency_ms: float = 1.8,
        *,
        classes: int = 1000,
        output: Output = "probabilities",
        timer: timers.Timer | None = None,
        batch: int = 1,
    ) -> None:
        self.output_shape: tuple[int, ...] = (1, 1, classes) if output == "features" else (classes,)
        self._output = output
        self._classes = classes
        self._device = Device(latency_ms, timer) if batch == 1 else BatchingDevice(latency_ms, batch, timer)
        falling = 1 / np.arange(2, classes + 1, dtype=np.float64)
        # Twice in a row, so that any rotation is a slice.
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
        """A distribution with one peak between 0.5 and 0.9; its place and height depend on the checksum."""
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
    """A device that processes one image at a time, for a fixed time each; calls queue.

    A queued call starts at the end of the one before, not when the event loop wakes it later, so that the rate does
    not depend on the loop. Measured at 1.8 ms: 1.86 ms for a single image, and 555 images a second in a queue.
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


class BatchingDevice:
    """A device that processes the images that wait, up to ``batch`` of them, together, in a fixed time.

    It takes what waits when it becomes free, in the order of arrival, and never waits for more. A call that was given
    up before its batch begins takes no part in it; one of more than ``batch`` images has a batch of its own.
    """

    # _waiting  calls whose batch has not begun: their number of images, and the future of their end
    # _working  the task that processes batches, as long as calls wait

    def __init__(self, latency_ms: float, batch: int, timer: timers.Timer | None = None) -> None:
        if latency_ms < 0 or batch < 1:
            raise ValueError(f"{latency_ms} ms for a batch of {batch}: a negative time, or a batch of none")
        self._latency, self._batch = round(latency_ms * 1e6), batch
        self._timer = timer or timers.best()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def work(self, images: int) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((images, done))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        await done

    def close(self) -> None:
        self._timer.close()

    async def _work(self) -> None:
        free_at = self._timer.now()
        while batch := self._next_batch():
            # From the end of the one before, not from when the event loop noticed it.
            free_at += self._latency
            await self._timer.until(free_at)
            for done in batch:
                if not done.done():
                    done.set_result(None)
        self._working = None

    def _next_batch(self) -> list[asyncio.Future[None]]:
        batch: list[asyncio.Future[None]] = []
        room = self._batch
        while self._waiting and (not batch or self._waiting[0][0] <= room):
            images, done = self._waiting.popleft()
            if not done.cancelled():
                batch.append(done)
                room -= images
        return batch

    def __repr__(self) -> str:
        return f"<BatchingDevice {self._latency / 1e6} ms for up to {self._batch}>"
