"""What the tests of the model share: the real weights and the real network, read and built once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from devstack import model
from devstack.model import weights

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture(scope="session")
def published() -> weights.Weights:
    return weights.load()


@pytest.fixture(scope="session")
def model_file() -> Path:
    """Where the local stack keeps it too, so that it is built once for both."""
    return model.ensure_built()


@pytest.fixture(scope="session")
def probabilities(model_file: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = session.run(["probabilities"], {"images": images})[0]
        return result

    return run
