"""EfficientNet-Lite0 with its ImageNet weights, as an ONNX file for the local inference service.

The network is that of Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019), in its Lite0 form: no squeeze-and-excitation, ReLU6 in place of swish, an input of 224 x 224.
"""

from devstack.model.build import default_path, ensure_built
from devstack.model.preprocess import ImageError, decode, decode_all
from devstack.model.weights import WeightsError

__all__ = ["ImageError", "WeightsError", "decode", "decode_all", "default_path", "ensure_built"]
