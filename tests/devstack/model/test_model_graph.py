import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from devstack.model import graph
from devstack.model.weights import Weights


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        (1, 1, [0, 0, 0, 0]),
        (3, 1, [1, 1, 1, 1]),
        (5, 1, [2, 2, 2, 2]),
        (3, 2, [0, 0, 1, 1]),
        (5, 2, [1, 1, 2, 2]),
    ],
)
def test_padding_puts_the_odd_pixel_last(kernel: int, stride: int, pads: list[int]) -> None:
    assert graph.same_padding(kernel, stride) == pads


def test_a_folded_convolution_computes_what_the_two_steps_do() -> None:
    random = np.random.default_rng(1)
    kernel = random.normal(size=(8, 4, 1, 1))
    norm = {
        "weight": random.normal(size=8),
        "bias": random.normal(size=8),
        "running_mean": random.normal(size=8),
        "running_var": random.uniform(0.1, 2, size=8),
    }
    pixel = random.normal(size=4)

    def convolve(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        return kernel[:, :, 0, 0].astype(np.float64) @ pixel

    normalized = (convolve(kernel) - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-3)
    folded, bias = graph.fold(kernel, norm)
    assert folded.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(convolve(folded) + bias, normalized * norm["weight"] + norm["bias"], rtol=1e-5)


def test_the_network_has_the_form_that_was_promised(model_file: Path) -> None:
    model = onnx.load(model_file)
    assert (model.opset_import[0].version, model.ir_version) == (13, 8)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "images": ["N", 224, 224, 3],
        "probabilities": ["N", 1000],
        "logits": ["N", 1000],
        "features": ["N", 1280],
    }


def test_the_network_has_sixteen_blocks_and_no_normalisation_left(model_file: Path) -> None:
    operators = [node.op_type for node in onnx.load(model_file).graph.node]
    assert operators.count("Conv") == 1 + 2 + 15 * 3 + 1
    assert operators.count("Add") == sum(stage.repeats - 1 for stage in graph.STAGES)
    assert "BatchNormalization" not in operators


def test_every_weight_of_the_network_is_used(published: Weights, model_file: Path) -> None:
    parameters = sum(int(np.prod(tensor.dims)) for tensor in onnx.load(model_file).graph.initializer)
    kernels = [name for name in published if published[name].ndim > 1]
    biases = sum(published[name].shape[0] for name in kernels)
    limits_of_relu6 = 2
    assert parameters == sum(published[name].size for name in kernels) + biases + limits_of_relu6


def test_another_process_builds_the_same_bytes(model_file: Path) -> None:
    program = (
        "import hashlib; from devstack.model import graph, weights;"
        "print(hashlib.sha256(graph.model(weights.load())).hexdigest())"
    )
    built = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert built.stdout.strip() == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_a_missing_tensor_is_named(published: Weights) -> None:
    without = {name: value for name, value in published.items() if name != "_blocks.3._bn1.bias"}
    with pytest.raises(KeyError, match=r"_blocks\.3\._bn1\.bias"):
        graph.model(without)
