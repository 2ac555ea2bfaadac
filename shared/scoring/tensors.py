"""Tensors on the wire: PredictRequest bytes out, scores in.

A request's bytes are assembled by hand around the payload, which is so copied just once: a 600 KB tensor takes some
tens of microseconds instead of the better part of a millisecond through message objects. The layout is protobuf's wire
format (https://protobuf.dev/programming-guides/encoding/), the field numbers are TensorFlow's, and a test compares the
result with what the generated code reads.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from protos.serving_pb2 import ModelSpec, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, DT_STRING, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid

_VARINT, _LENGTH = 0, 2  # wire types


class RequestTemplate:
    """Makes the PredictRequests of one service: all but the images is the same in each.

    ``version`` is None, and ``version_label`` empty, where the service is to choose; at most one of them is given.
    """

    def __init__(
        self, *, model: str, signature: str, input_name: str, version: int | None = None, version_label: str = ""
    ) -> None:
        spec = model_spec(model=model, signature=signature, version=version, version_label=version_label)
        self._head = _field(1, spec.SerializeToString()) if spec.ByteSize() else b""
        self._input_name = _field(1, input_name.encode())
        self._overhead = len(self.encoded([b""]))

    def room(self, message_bytes: int) -> int:
        """What a message of that many bytes leaves for an encoded image."""
        # The numbers that tell lengths grow with it by a few bytes.
        return message_bytes - self._overhead - 32

    def encoded(self, images: Sequence[bytes]) -> bytes:
        """A request of image files: ``DT_STRING`` of shape ``[N]``."""
        parts: list[bytes | memoryview] = [_tensor_head(DT_STRING, (len(images),))]
        for image in images:
            parts += [_STRING_VAL, _varint(len(image)), image]
        return self._around(parts)

    def tensor(self, images: npt.NDArray[np.float32]) -> bytes:
        """A request of pixels: ``DT_FLOAT`` of shape ``[N, height, width, 3]``, little-endian."""
        return self.floats(images.shape, np.ascontiguousarray(images, dtype="<f4").data.cast("B"))

    def floats(self, shape: tuple[int, ...], content: bytes | memoryview) -> bytes:
        """A request of numbers that already lie as the wire wants them: ``DT_FLOAT``, little-endian, row by row."""
        return self._around([_tensor_head(DT_FLOAT, shape), _TENSOR_CONTENT, _varint(len(content)), content])

    def _around(self, tensor: list[bytes | memoryview]) -> bytes:
        tensor_size = sum(map(len, tensor))
        value_head = _VALUE + _varint(tensor_size)
        entry_size = len(self._input_name) + len(value_head) + tensor_size
        entry_head = _INPUTS + _varint(entry_size)
        return b"".join([self._head, entry_head, self._input_name, value_head, *tensor])


class Output(NamedTuple):
    """What a service answered: float32 of any shape, and the model's version where the service tells it."""

    values: npt.NDArray[np.float32]
    version: int | None


class AnswerReader:
    """Reads the PredictResponses of one service.

    They are alike but for their numbers: once one has been read, the bytes before and after its numbers are known, and
    the numbers of any other that has the same bytes there lie in the same place.
    """

    # _layouts  what surrounds the numbers, by the answer's length: batches of several sizes differ in it

    def __init__(self, output_name: str) -> None:
        self._output_name = output_name
        self._layouts: dict[int, _Layout] = {}

    def scores(self, response: bytes) -> npt.NDArray[np.float32]:
        """The scores of one image: ``[classes]`` float32, all finite.

        Raises:
            ServiceAnswerInvalid: no such output, another type or shape, or numbers that are none.
        """
        values = self._read(response).values
        if values.ndim < 2 or values.shape[0] != 1 or values.size == 0:
            raise ServiceAnswerInvalid(f"The output's shape is {list(values.shape)}; [1, classes] is needed.")
        return values.reshape(-1)

    def output(self, response: bytes, rows: int) -> Output:
        """The output as it came, for so many inputs: ``[rows, ...]`` float32, all finite.

        Raises:
            ServiceAnswerInvalid: no such output, another type or number of rows, or numbers that are none.
        """
        found = self._read(response)
        if found.values.shape[:1] != (rows,) or found.values.size == 0:
            raise ServiceAnswerInvalid(f"The output's shape is {list(found.values.shape)}; [{rows}, ...] is needed.")
        return found

    def _read(self, response: bytes) -> Output:
        found = self._known(response)
        if found is None:
            found = _parse(response, self._output_name)
            self._learn(response, found)
        if not np.isfinite(found.values).all():
            raise ServiceAnswerInvalid("The output holds values that are not numbers (NaN or infinity).")
        return found

    def _known(self, response: bytes) -> Output | None:
        layout = self._layouts.get(len(response))
        if layout is None or not (response.startswith(layout.before) and response.endswith(layout.after)):
            return None
        values = np.frombuffer(response, dtype="<f4", count=layout.size, offset=len(layout.before))
        return Output(values.reshape(layout.shape), layout.version)

    def _learn(self, response: bytes, found: Output) -> None:
        numbers = found.values.astype("<f4").tobytes()
        # Anywhere else than at the only place, the numbers could be those of something else.
        if len(numbers) >= _LEAST_TO_LEARN and response.count(numbers) == 1:
            at = response.index(numbers)
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[len(response)] = _Layout(
                response[:at], response[at + len(numbers) :], found.values.size, found.values.shape, found.version
            )


class _Layout(NamedTuple):
    """What surrounds the numbers of an answer, how many they are and their shape; the version is part of the rest."""

    before: bytes
    after: bytes
    size: int
    shape: tuple[int, ...]
    version: int | None


def model_spec(*, model: str, signature: str = "", version: int | None = None, version_label: str = "") -> ModelSpec:
    """Which model, version and signature a request is for; what is empty or None is for the service to choose."""
    spec = ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    elif version_label:
        spec.version_label = version_label
    return spec


def _parse(response: bytes, output_name: str) -> Output:
    try:
        answer = PredictResponse.FromString(response)
    except DecodeError as error:
        raise ServiceAnswerInvalid("The answer is no PredictResponse.") from error
    if output_name not in answer.outputs:
        there = ", ".join(sorted(answer.outputs)) or "none"
        raise ServiceAnswerInvalid(f"The answer has no output {output_name!r}; it has: {there}.")
    values = _floats(answer.outputs[output_name])
    spec = answer.model_spec
    return Output(values, spec.version.value if spec.HasField("version") else None)


# Bytes: fewer could stand in an answer by chance.
_LEAST_TO_LEARN = 32
# As many as there are sizes of batches; more are a service whose answers are never alike.
_MAX_LAYOUTS = 64


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
