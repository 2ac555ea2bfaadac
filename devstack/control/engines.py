"""The engines of the models that services run: one for each model, however many services share it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack.control.packages import MANIFEST, MODEL, Preprocessing, parse_manifest
from devstack.control.records import BUILT_IN, ModelRecord
from devstack.fpga import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.requests import Batch, Refusal

if TYPE_CHECKING:
    from devstack.fpga.engines import Output

Scores = NDArray[np.float32]


class PackagedEngine:
    """A registered model on the processor, with the preprocessing of its manifest."""

    def __init__(self, folder: Path) -> None:
        manifest = self._manifest = parse_manifest((folder / MANIFEST).read_bytes())
        self._inner = ModelEngine(folder / MODEL, manifest.output.name, partial(decode, steps=manifest.preprocessing))
        (size,) = np.ravel(self._inner.output_shape[-1:])
        self.output_shape: tuple[int, ...] = (1, 1, int(size)) if manifest.output.form == "features" else (int(size),)

    async def score(self, batch: Batch) -> Scores:
        form, sent = ("tensor", "a numeric tensor") if isinstance(batch, np.ndarray) else ("encoded", "image files")
        if form not in self._manifest.input.forms:
            wanted = " or ".join(self._manifest.input.forms)
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"the model does not accept {sent}; its input is {wanted}")
        return (await self._inner.score(batch)).reshape(len(batch), *self.output_shape)

    def close(self) -> None:
        self._inner.close()

    def __repr__(self) -> str:
        return f"<PackagedEngine {self._manifest.model} {self._inner!r}>"


def decode(files: list[bytes], start: int, *, steps: Preprocessing) -> Scores:
    """Decode and normalise image files, float32 [N, 224, 224, 3]. ``start`` is the index of the first.

    Raises:
        ImageError: a file is not an image; the message contains its index.
    """
    from devstack.model import decode_all  # noqa: PLC0415 - Pillow, which the simulated engine does not need

    mean, scale = np.array(steps.mean, np.float32), np.array(steps.scale, np.float32)
    order = slice(None, None, -1 if steps.order == "BGR" else 1)
    return decode_all(files, start, lambda pixels: (pixels[..., order] - mean) / scale)


def model_engines(folder_of: Callable[[str], Path]) -> Callable[[ModelRecord], Engine]:
    """Makes engines that compute; ``folder_of`` returns the folder of a registered model's files."""
    return lambda model: ModelEngine() if model.id == BUILT_IN.id else PackagedEngine(folder_of(model.id))


def simulated_engines(latency_ms: float) -> Callable[[ModelRecord], Engine]:
    """Makes engines that answer in the time of an accelerator, in the shape of the model."""
    return lambda model: SimulatedEngine(latency_ms, classes=model.size, output=cast("Output", model.form))


class EnginePool:
    """Makes the engine of a model at its first use, and closes it after the last. For one event loop."""

    def __init__(self, make: Callable[[ModelRecord], Engine]) -> None:
        self._make = make
        self._engines: dict[str, Engine] = {}
        self._users: Counter[str] = Counter()
        self._lock = asyncio.Lock()

    async def acquire(self, model: ModelRecord) -> Engine:
        """The model's engine, until :meth:`release`.

        Raises:
            ValueError: the model's file cannot be used; OSError: it cannot be read.
        """
        async with self._lock:
            if model.id not in self._engines:
                # In a thread: loading a model takes long enough to delay calls of other services.
                self._engines[model.id] = await asyncio.to_thread(self._make, model)
            self._users[model.id] += 1
            return self._engines[model.id]

    def release(self, model_id: str) -> None:
        self._users[model_id] -= 1
        if self._users[model_id] == 0:
            self._engines.pop(model_id).close()

    def close(self) -> None:
        """Close all engines."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def __repr__(self) -> str:
        return f"<EnginePool {dict(self._users)}>"
