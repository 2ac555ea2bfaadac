"""Codecs: one inference protocol each, behind the interface that the rest of the gateway uses.

A codec knows the protocol's gRPC methods, how a request is laid out around its payload, and how a response is read. It
does no I/O. A new protocol is one module here, chosen in :mod:`shared.gateway`, and its tests.
"""

from shared.upstream.codecs.interface import (
    MAX_CLASSES,
    MAX_RANK,
    MAX_VALUES,
    Codec,
    EncodedImages,
    FloatTensor,
    Output,
    Outputs,
    RequestTemplate,
    Rpc,
    Selector,
    Signatures,
    Tensor,
    VersionStatus,
)
from shared.upstream.codecs.model import ModelInterface, ModelMetadata, TensorMetadata

__all__ = [
    "MAX_CLASSES",
    "MAX_RANK",
    "MAX_VALUES",
    "Codec",
    "EncodedImages",
    "FloatTensor",
    "ModelInterface",
    "ModelMetadata",
    "Output",
    "Outputs",
    "RequestTemplate",
    "Rpc",
    "Selector",
    "Signatures",
    "Tensor",
    "TensorMetadata",
    "VersionStatus",
]
