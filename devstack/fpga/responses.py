"""The responses: functions from scores to messages, without I/O.

A prediction is encoded by hand: protobuf's Python objects copy a thousand floats one by one, which costs more than
everything else that the server does, while packed floats have the same layout as the array. The encoding is a tag, a
length, the bytes (https://protobuf.dev/programming-guides/encoding/).
"""

import numpy as np
from google.protobuf import any_pb2, wrappers_pb2
from numpy.typing import NDArray

from devstack.fpga.requests import DEFAULT_SIGNATURE, IMAGE_SHAPE, INPUT, OUTPUT, SIGNATURES, Model
from protos import serving_pb2, signature_pb2, tensor_pb2

_LENGTH_DELIMITED = 2


def spec(model: Model, signature: str = "") -> serving_pb2.ModelSpec:
    """The model and version of a response."""
    return serving_pb2.ModelSpec(
        name=model.name,
        version=wrappers_pb2.Int64Value(value=model.version),
        signature_name=signature or DEFAULT_SIGNATURE,
    )


def prediction(answered: serving_pb2.ModelSpec, scores: NDArray[np.float32] | None) -> bytes:
    """A PredictResponse with ``scores`` in ``float_val`` of its output; without an output for None."""
    outputs = b"" if scores is None else _field(1, _field(1, OUTPUT.encode()) + _field(2, tensor(scores)))
    return outputs + _field(2, answered.SerializeToString())


def tensor(values: NDArray[np.float32]) -> bytes:
    """A TensorProto of type DT_FLOAT with ``values`` in ``float_val``, in row-major order."""
    header = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape=_shape(values.shape))
    return header.SerializeToString() + _field(5, values.astype("<f4", copy=False).tobytes())


def metadata(model: Model, signature: str = "") -> serving_pb2.GetModelMetadataResponse:
    """The model's signatures, under ``signature_def``."""
    signatures = serving_pb2.SignatureDefMap(
        signature_def={name: _signature(model, dtype) for name, dtype in SIGNATURES.items()}
    )
    packed = any_pb2.Any()
    packed.Pack(signatures)
    return serving_pb2.GetModelMetadataResponse(model_spec=spec(model, signature), metadata={"signature_def": packed})


def status(model: Model, *, available: bool) -> serving_pb2.GetModelStatusResponse:
    """Whether the model's version is available."""
    state = serving_pb2.ModelVersionStatus
    return serving_pb2.GetModelStatusResponse(
        model_version_status=[
            serving_pb2.ModelVersionStatus(
                version=model.version,
                state=state.AVAILABLE if available else state.UNLOADING,
                status=serving_pb2.StatusProto(error_code=0),
            )
        ]
    )


def _signature(model: Model, dtype: tensor_pb2.DataType) -> signature_pb2.SignatureDef:
    shape = (-1, *IMAGE_SHAPE) if dtype == tensor_pb2.DT_FLOAT else (-1,)
    return signature_pb2.SignatureDef(
        inputs={INPUT: _info(INPUT, dtype, shape)},
        outputs={OUTPUT: _info(OUTPUT, tensor_pb2.DT_FLOAT, (-1, *model.output_shape))},
        method_name="tensorflow/serving/predict",
    )


def _info(name: str, dtype: tensor_pb2.DataType, shape: tuple[int, ...]) -> signature_pb2.TensorInfo:
    return signature_pb2.TensorInfo(name=f"{name}:0", dtype=dtype, tensor_shape=_shape(shape))


def _shape(sizes: tuple[int, ...]) -> tensor_pb2.TensorShapeProto:
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
