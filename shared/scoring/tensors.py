"""Tensors on the wire: PredictRequest bytes out, scores in.

A request's bytes are assembled by hand around the payload, which is so copied just once: a 600 KB tensor takes some
tens of microseconds instead of the better part of a millisecond through message objects. The layout is protobuf's wire
format (https://protobuf.dev/programming-guides/encoding/), the field numbers are TensorFlow's, and a test compares the
result with what the generated code reads.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from protos.serving_pb2 import ModelSpec, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, DT_STRING, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid

_VARINT, _LENGTH = 0, 2  # wire types


class RequestTemplate:
    """Makes the PredictRequests of one service: all but the images is the same in each."""

    def __init__(self, *, model: str, signature: str, input_name: str) -> None:
        spec = ModelSpec(name=model, signature_name=signature).SerializeToString()
        self._head = _field(1, spec) if spec else b""
        self._input_name = _field(1, input_name.encode())

    def encoded(self, images: Sequence[bytes]) -> bytes:
        """A request of image files: ``DT_STRING`` of shape ``[N]``."""
        parts: list[bytes | memoryview] = [_tensor_head(DT_STRING, (len(images),))]
        for image in images:
            parts += [_STRING_VAL, _varint(len(image)), image]
        return self._around(parts)

    def tensor(self, images: npt.NDArray[np.float32]) -> bytes:
        """A request of pixels: ``DT_FLOAT`` of shape ``[N, height, width, 3]``, little-endian."""
        content = np.ascontiguousarray(images, dtype="<f4").data.cast("B")
        return self._around([_tensor_head(DT_FLOAT, images.shape), _TENSOR_CONTENT, _varint(len(content)), content])

    def _around(self, tensor: list[bytes | memoryview]) -> bytes:
        tensor_size = sum(map(len, tensor))
        value_head = _VALUE + _varint(tensor_size)
        entry_size = len(self._input_name) + len(value_head) + tensor_size
        entry_head = _INPUTS + _varint(entry_size)
        return b"".join([self._head, entry_head, self._input_name, value_head, *tensor])


class AnswerReader:
    """Reads the PredictResponses of one service.

    They are alike but for their numbers: once one has been read, the bytes before and after its numbers are known, and
    the numbers of any other that has the same bytes there lie in the same place.
    """

    # _layout  what surrounds the numbers, and their shape; None before the first answer

    def __init__(self, output_name: str) -> None:
        self._output_name = output_name
        self._layout: tuple[bytes, bytes, tuple[int, ...]] | None = None

    def scores(self, response: bytes) -> npt.NDArray[np.float32]:
        """The scores of one image: ``[classes]`` float32, all finite.

        Raises:
            ServiceAnswerInvalid: no such output, another type or shape, or numbers that are none.
        """
        values = self._known(response)
        if values is None:
            values = _parse(response, self._output_name)
            self._learn(response, values)
        if not np.isfinite(values).all():
            raise ServiceAnswerInvalid("The output holds values that are not numbers (NaN or infinity).")
        return values

    def _known(self, response: bytes) -> npt.NDArray[np.float32] | None:
        if self._layout is None:
            return None
        before, after, shape = self._layout
        size = shape[0] * 4
        is_alike = len(response) == len(before) + size + len(after)
        if is_alike and response.startswith(before) and response.endswith(after):
            return np.frombuffer(response, dtype="<f4", count=shape[0], offset=len(before))
        return None

    def _learn(self, response: bytes, values: npt.NDArray[np.float32]) -> None:
        numbers = values.astype("<f4").tobytes()
        # Anywhere else than at the only place, the numbers could be those of something else.
        if len(numbers) >= _LEAST_TO_LEARN and response.count(numbers) == 1:
            at = response.index(numbers)
            self._layout = response[:at], response[at + len(numbers) :], values.shape


def _parse(response: bytes, output_name: str) -> npt.NDArray[np.float32]:
    try:
        outputs = PredictResponse.FromString(response).outputs
    except DecodeError as error:
        raise ServiceAnswerInvalid("The answer is no PredictResponse.") from error
    if output_name not in outputs:
        there = ", ".join(sorted(outputs)) or "none"
        raise ServiceAnswerInvalid(f"The answer has no output {output_name!r}; it has: {there}.")
    values = _floats(outputs[output_name])
    if values.ndim < 2 or values.shape[0] != 1 or values.size == 0:
        raise ServiceAnswerInvalid(f"The output's shape is {list(values.shape)}; [1, classes] is needed.")
    return values.reshape(-1)


# Bytes: fewer could stand in an answer by chance.
_LEAST_TO_LEARN = 32


def _floats(tensor: TensorProto) -> npt.NDArray[np.float32]:
    if tensor.dtype != DT_FLOAT:
        raise ServiceAnswerInvalid(f"The output's data type is number {tensor.dtype}; DT_FLOAT (1) is needed.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content[: len(tensor.tensor_content) // 4 * 4], dtype="<f4")
    else:
        values = _float_val(tensor)
    wanted = math.prod(shape) if shape and min(shape) >= 0 else -1
    if values.size == 1 and 1 < wanted <= _MAX_VALUES:
        return np.full(shape, values[0])
    if values.size != wanted:
        raise ServiceAnswerInvalid(f"The output's shape {list(shape)} does not fit its {values.size} values.")
    return values.reshape(shape)


def _float_val(tensor: TensorProto) -> npt.NDArray[np.float32]:
    """The values of ``float_val``; all else is taken out of ``tensor``.

    A thousand values would pass through protobuf's Python objects one at a time, which costs more than all else that is
    done with an answer. On the wire they lie in a row, and are alone there when they are the message's only field.
    """
    size = 4 * len(tensor.float_val)
    for name in _NOT_FLOAT_VAL:
        tensor.ClearField(name)
    tensor.DiscardUnknownFields()
    wire = tensor.SerializeToString()
    return np.frombuffer(wire, dtype="<f4", offset=len(wire) - size)


_NOT_FLOAT_VAL = tuple(name for name in TensorProto.DESCRIPTOR.fields_by_name if name != "float_val")

# What a single value may be spread to: far beyond any classifier, far below what would hurt.
_MAX_VALUES = 1_000_000


@functools.lru_cache(maxsize=64)
def _tensor_head(dtype: int, shape: tuple[int, ...]) -> bytes:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape]).SerializeToString()
    return _tag(1, _VARINT) + _varint(dtype) + _field(2, dims)


def _field(number: int, payload: bytes) -> bytes:
    return _tag(number, _LENGTH) + _varint(len(payload)) + payload


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# The tags that the images and the messages around them begin with, by the names of their fields.
_INPUTS, _VALUE = _tag(2, _LENGTH), _tag(2, _LENGTH)
_TENSOR_CONTENT, _STRING_VAL = _tag(4, _LENGTH), _tag(8, _LENGTH)
