"""Checks of requests, without I/O.

The statuses are those of TensorFlow Serving: an unknown model is NOT_FOUND, an invalid tensor INVALID_ARGUMENT, an
unknown signature FAILED_PRECONDITION.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from protos import serving_pb2, tensor_pb2

INPUT = "images"
OUTPUT = "output_alias"
SIDE = 224
IMAGE_SHAPE = (SIDE, SIDE, 3)
SIGNATURES = {"serving_default": tensor_pb2.DT_FLOAT, "encoded_images": tensor_pb2.DT_STRING}
DEFAULT_SIGNATURE = "serving_default"
METADATA_FIELD = "signature_def"

# The response for more images would not fit into a message of 4 MiB.
MAX_BATCH = 1024

# The images to score: files, or float32 [N, 224, 224, 3] that the caller has prepared.
Batch = list[bytes] | NDArray[np.float32]

_IMAGE_VALUES = SIDE * SIDE * 3
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


class Refusal(Exception):
    """A call that is answered with an error status: part of the protocol, not a failure."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Model:
    """A served model. ``output_shape`` is that of one image's scores: (1000,), or (1, 1, 2048) for features."""

    name: str
    version: int
    output_shape: tuple[int, ...]


def read[M: Message](kind: type[M], data: bytes) -> M:
    """Parse a request.

    Raises:
        Refusal: the bytes are not such a message.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        raise _invalid(f"the request is not a {kind.DESCRIPTOR.full_name} message") from None


def check_spec(spec: serving_pb2.ModelSpec, model: Model) -> None:
    """Check that a request names this model, or none, as many callers do.

    Raises:
        Refusal: it names another model, version or signature.
    """
    if spec.name and spec.name != model.name:
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"model {spec.name!r} is not served here, but {model.name!r}")
    if spec.WhichOneof("version_choice") == "version_label":
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"model {model.name!r} has no version labelled {spec.version_label!r}")
    if spec.HasField("version") and spec.version.value != model.version:
        raise Refusal(
            grpc.StatusCode.NOT_FOUND,
            f"model {model.name!r} has no version {spec.version.value}; it has {model.version}",
        )
    if spec.signature_name and spec.signature_name not in SIGNATURES:
        raise Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"signature {spec.signature_name!r} is not found; known: {', '.join(SIGNATURES)}",
        )


def check_filter(output_filter: Sequence[str]) -> None:
    """Check that a filter, if there is one, contains the only output once.

    Raises:
        Refusal: it names another output, or one twice.
    """
    for name in output_filter:
        if name != OUTPUT:
            raise _invalid(f"output_filter names {name!r}; the only output is {OUTPUT!r}")
    if len(output_filter) > 1:
        raise _invalid(f"output_filter names {OUTPUT!r} more than once")


def check_metadata_fields(names: Sequence[str]) -> None:
    """Check that a request for metadata names the only field.

    Raises:
        Refusal: it names none, or another one.
    """
    if not names:
        raise _invalid(f"metadata_field is empty; the only one is {METADATA_FIELD!r}")
    for name in names:
        if name != METADATA_FIELD:
            raise _invalid(f"metadata_field {name!r} is not known; the only one is {METADATA_FIELD!r}")


def batch_of(request: serving_pb2.PredictRequest) -> Batch:
    """The images of a request.

    Raises:
        Refusal: the input has another name, type or shape, or too few or too many values.
    """
    others = sorted(set(request.inputs) - {INPUT})
    if others:
        raise _invalid(f"input {others[0]!r} is not known; the only input is {INPUT!r}")
    if INPUT not in request.inputs:
        raise _invalid(f"input {INPUT!r} is missing")
    tensor = request.inputs[INPUT]
    if tensor.dtype == tensor_pb2.DT_STRING:
        return _files(tensor)
    if tensor.dtype == tensor_pb2.DT_FLOAT:
        return _pixels(tensor)
    raise _invalid(f"input {INPUT!r} has type {_type_name(tensor.dtype)}; DT_FLOAT or DT_STRING is expected")


def _files(tensor: tensor_pb2.TensorProto) -> list[bytes]:
    shape = _shape(tensor)
    files = list(tensor.string_val)
    if len(shape) != 1:
        raise _invalid(f"input {INPUT!r} of type DT_STRING has shape {list(shape)}; [N] is expected")
    _check_size(shape[0])
    if len(files) != shape[0]:
        raise _invalid(f"input {INPUT!r} has shape {list(shape)} but {len(files)} values in string_val")
    check_files(files)
    return files


def check_files(files: Sequence[bytes]) -> None:
    """Check that each is of a format that the service decodes.

    Raises:
        Refusal: one is not.
    """
    for index, file in enumerate(files):
        if not file.startswith((_JPEG, _PNG)):
            raise _invalid(f"images[{index}] is neither a JPEG nor a PNG file")


def _pixels(tensor: tensor_pb2.TensorProto) -> NDArray[np.float32]:
    shape = _shape(tensor)
    if len(shape) != 4 or shape[1:] != IMAGE_SHAPE:
        raise _invalid(f"input {INPUT!r} of type DT_FLOAT has shape {list(shape)}; [N,224,224,3] is expected")
    _check_size(shape[0])
    expected = shape[0] * _IMAGE_VALUES
    content = tensor.tensor_content
    if content:
        if len(content) != expected * 4:
            raise _invalid(
                f"input {INPUT!r} of shape {list(shape)} needs {expected * 4} bytes of tensor_content, "
                f"not {len(content)}"
            )
        return np.frombuffer(content, "<f4").reshape(shape)
    values = np.array(tensor.float_val, np.float32)
    if values.size == 1:
        return np.broadcast_to(values, shape)
    if values.size != expected:
        raise _invalid(
            f"input {INPUT!r} of shape {list(shape)} needs {expected} values (or one for all) in float_val, "
            f"or tensor_content; float_val has {values.size}"
        )
    return values.reshape(shape)


def _shape(tensor: tensor_pb2.TensorProto) -> tuple[int, ...]:
    if tensor.tensor_shape.unknown_rank:
        raise _invalid(f"input {INPUT!r} has no shape: its rank is unknown")
    return tuple(dim.size for dim in tensor.tensor_shape.dim)


def _check_size(size: int) -> None:
    if not 1 <= size <= MAX_BATCH:
        raise _invalid(f"input {INPUT!r} has {size} images; 1 to {MAX_BATCH} are expected")


def _type_name(dtype: int) -> str:
    try:
        return tensor_pb2.DataType.Name(dtype)
    except ValueError:  # a request may contain any number
        return f"number {dtype}"


def _invalid(details: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, details)
