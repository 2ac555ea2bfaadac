"""The engines of the models that services run: one for each model, however many services share it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack.control.packages import MANIFEST, MODEL, Manifest, parse_manifest
from devstack.control.records import BUILT_IN, ModelRecord
from devstack.fpga import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.requests import Batch, Refusal

if TYPE_CHECKING:
    from devstack.fpga.engines import Output

Scores = NDArray[np.float32]

# Images that are decoded at a time: many at once would need much memory.
_PART = 8


class PackagedEngine:
    """A registered model on the processor, with the preprocessing that its manifest asks for."""

    def __init__(self, folder: Path) -> None:
        self._manifest = parse_manifest((folder / MANIFEST).read_bytes())
        # The engine hands the name on to the graph, where it may be any.
        self._inner = ModelEngine(folder / MODEL, cast("Output", self._manifest.output))
        (size,) = np.ravel(self._inner.output_shape[-1:])
        self.output_shape: tuple[int, ...] = (1, 1, int(size)) if self._manifest.form == "features" else (int(size),)
        self._decoding = ThreadPoolExecutor(2, "control-decode")

    async def score(self, batch: Batch) -> Scores:
        if isinstance(batch, np.ndarray):
            self._check_form("tensor", "a numeric tensor")
            scores = await self._inner.score(batch)
        else:
            self._check_form("encoded", "image files")
            parts = [await self._score_files(batch, start) for start in range(0, len(batch), _PART)]
            scores = np.concatenate(parts)
        return scores.reshape(len(batch), *self.output_shape)

    def close(self) -> None:
        self._inner.close()
        self._decoding.shutdown(cancel_futures=True)

    async def _score_files(self, files: list[bytes], start: int) -> Scores:
        loop = asyncio.get_running_loop()
        part = files[start : start + _PART]
        pixels = await loop.run_in_executor(self._decoding, prepare, part, start, self._manifest)
        return (await self._inner.score(pixels)).reshape(len(part), -1)

    def _check_form(self, form: str, sent: str) -> None:
        if form not in self._manifest.inputs:
            wanted = " or ".join(self._manifest.inputs)
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"the model takes no {sent}; its input is {wanted}")

    def __repr__(self) -> str:
        return f"<PackagedEngine {self._manifest.model} {self._inner!r}>"


def prepare(files: list[bytes], start: int, manifest: Manifest) -> Scores:
    """Decode image files and scale them as a manifest says: float32 [N, 224, 224, 3]. ``start`` counts the first.

    Raises:
        Refusal: one of them is no image; the details give its number.
    """
    from devstack.model import preprocess  # noqa: PLC0415 - Pillow, which the simulated engine need not load

    mean, scale = np.array(manifest.mean, np.float32), np.array(manifest.scale, np.float32)
    pixels = []
    for index, file in enumerate(files, start):
        try:
            # The local model's own scaling undone: whole numbers from 0 to 255, exactly.
            picture = preprocess.decode(file) * np.float32(128) + np.float32(127)
        except preprocess.ImageError as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"images[{index}] {error}") from None
        pixels.append(((picture[..., ::-1] if manifest.order == "BGR" else picture) - mean) / scale)
    return np.stack(pixels)


def model_engines(folder_of: Callable[[str], Path]) -> Callable[[ModelRecord], Engine]:
    """Makes engines that compute; ``folder_of`` tells where a registered model's files are."""

    def make(model: ModelRecord) -> Engine:
        if model.id != BUILT_IN.id:
            return PackagedEngine(folder_of(model.id))
        from devstack.model import ensure_built  # noqa: PLC0415 - onnx, which only this one needs

        return ModelEngine(ensure_built())

    return make


def simulated_engines(latency_ms: float) -> Callable[[ModelRecord], Engine]:
    """Makes engines that answer in an accelerator's time, in the shape of the model."""

    def make(model: ModelRecord) -> Engine:
        return SimulatedEngine(latency_ms, classes=model.size, output=cast("Output", model.form))

    return make


class EnginePool:
    """Makes an engine at the first use of its model, and closes it at the end of the last. For one event loop."""

    def __init__(self, make: Callable[[ModelRecord], Engine]) -> None:
        self._make = make
        self._engines: dict[str, Engine] = {}
        self._users: Counter[str] = Counter()
        self._lock = asyncio.Lock()

    async def acquire(self, model: ModelRecord) -> Engine:
        """The model's engine, to be given back by :meth:`release`.

        Raises:
            ValueError: the model's file cannot be used; OSError: it cannot be read.
        """
        async with self._lock:
            if model.id not in self._engines:
                # In a thread: reading a model takes long enough to be seen in the answers of the others.
                self._engines[model.id] = await asyncio.to_thread(self._make, model)
            self._users[model.id] += 1
            return self._engines[model.id]

    def release(self, model_id: str) -> None:
        self._users[model_id] -= 1
        if self._users[model_id] == 0:
            self._engines.pop(model_id).close()

    def close(self) -> None:
        """Close what is still open."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def __repr__(self) -> str:
        return f"<EnginePool {dict(self._users)}>"
