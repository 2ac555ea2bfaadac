"""The network: EfficientNet-Lite0 as an ONNX graph, each batch normalisation folded into its convolution.

Input ``images``: float32 [N, 224, 224, 3], RGB, ``(value - 127) / 128``. Outputs: ``probabilities`` and ``logits``,
float32 [N, 1000] in the order of the ImageNet classes, and ``features``, float32 [N, 1280], the input of the
classifier. A runtime computes only the outputs that are requested.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INPUT = "images"
SIDE = 224
CLASSES = 1000
FEATURES = 1280

_OPSET = 13
_IR_VERSION = 8
_EPSILON = 1e-3  # of the published network's batch normalisation

Array = NDArray[Any]


class Stage(NamedTuple):
    """Inverted bottleneck blocks in a row; the first has the stride and changes the number of channels."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def model(weights: Mapping[str, Array]) -> bytes:
    """The network as the bytes of an ONNX file; the same weights give the same bytes.

    Raises:
        KeyError: a tensor of the network is missing from ``weights``.
    """
    network = _Network(weights)
    channels_first = network.add("Transpose", [INPUT], perm=[0, 3, 1, 2])
    features = network.add("Flatten", [network.trunk(channels_first)], output="features")
    classifier = [network.constant(name, weights[name]) for name in ("_fc.weight", "_fc.bias")]
    logits = network.add("Gemm", [features, *classifier], output="logits", transB=1)
    network.add("Softmax", [logits], output="probabilities", axis=1)
    return network.serialize()


def same_padding(kernel: int, stride: int) -> list[int]:
    """TensorFlow's SAME padding (top, left, bottom, right) of an even-sized input; an odd total has more at the end."""
    total = kernel - stride
    before = total // 2
    return [before, before, total - before, total - before]


def fold(kernel: Array, norm: Mapping[str, Array]) -> tuple[Array, Array]:
    """A convolution and the batch normalisation after it, as one convolution: its kernel and bias.

    The arithmetic is in float64, so that only the last step rounds to float32.
    """
    wide = {name: value.astype(np.float64) for name, value in norm.items()}
    scale = wide["weight"] / np.sqrt(wide["running_var"] + _EPSILON)
    bias = wide["bias"] - wide["running_mean"] * scale
    folded = kernel.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    return folded.astype(np.float32), bias.astype(np.float32)


class _Network:
    """Builds the graph node by node; each step returns the name of its output."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._limits = [self.constant(name, np.array(limit, np.float32)) for name, limit in (("zero", 0), ("six", 6))]

    def constant(self, name: str, value: Array) -> str:
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, inputs: list[str], *, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def trunk(self, data: str) -> str:
        data = self._relu6(self._convolution(data, "_conv_stem", "_bn0", kernel=3, stride=2))
        block = 0
        for stage in STAGES:
            for repeat in range(stage.repeats):
                data = self._block(data, f"_blocks.{block}", stage, first=repeat == 0)
                block += 1
        data = self._relu6(self._convolution(data, "_conv_head", "_bn1", kernel=1))
        return self.add("GlobalAveragePool", [data])

    def serialize(self) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "efficientnet-lite0",
            [_value(INPUT, "N", SIDE, SIDE, 3)],
            [
                _value("probabilities", "N", CLASSES),
                _value("logits", "N", CLASSES),
                _value("features", "N", FEATURES),
            ],
            self._constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        proto = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="scoring-gateway")
        onnx.checker.check_model(proto)
        data: bytes = proto.SerializeToString(deterministic=True)
        return data

    def _block(self, data: str, name: str, stage: Stage, *, first: bool) -> str:
        """Expand, filter each channel, project; the input is added where the shape stays the same."""
        stride = stage.stride if first else 1
        out = data
        if stage.expand != 1:
            out = self._relu6(self._convolution(out, f"{name}._expand_conv", f"{name}._bn0", kernel=1))
        depthwise = f"{name}._depthwise_conv"
        out = self._relu6(
            self._convolution(out, depthwise, f"{name}._bn1", kernel=stage.kernel, stride=stride, depthwise=True)
        )
        out = self._convolution(out, f"{name}._project_conv", f"{name}._bn2", kernel=1)
        return out if first else self.add("Add", [out, data])

    def _convolution(
        self, data: str, name: str, norm: str, *, kernel: int, stride: int = 1, depthwise: bool = False
    ) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        folded, bias = fold(self._weights[f"{name}.weight"], {part: self._weights[f"{norm}.{part}"] for part in parts})
        inputs = [data, self.constant(f"{name}.weight", folded), self.constant(f"{name}.bias", bias)]
        return self.add(
            "Conv",
            inputs,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=same_padding(kernel, stride),
            group=folded.shape[0] if depthwise else 1,
        )

    def _relu6(self, data: str) -> str:
        return self.add("Clip", [data, *self._limits])


def _value(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
