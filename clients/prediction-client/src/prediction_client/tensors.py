"""Requests and responses as bytes and as numpy arrays. Imported by the first call: numpy takes 50 ms to import.

Values are sent as little-endian bytes in ``tensor_content``, never in protobuf's lists, which would convert the 150,000
values of one image one at a time. Responses may hold theirs in either form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from grpc import StatusCode

from prediction_client.errors import AnswerInvalid, MessageTooLarge
from prediction_client.predict_pb2 import (
    DT_FLOAT,
    DT_STRING,
    DataType,
    ModelSpec,
    PredictRequest,
    PredictResponse,
    TensorProto,
    TensorShapeProto,
)

Floats: TypeAlias = npt.NDArray[np.float32]

# The most elements that a single value is repeated to: 16 times what a message of 4 MiB can hold.
_MAX_REPEATED = 16 * 1024 * 1024


@dataclass(frozen=True)
class Codec:
    """Writes the requests of one client and reads their responses.

    ``message_bytes`` is the limit for a request. An empty ``model_name`` or ``signature_name`` leaves the choice to
    the service.
    """

    input_name: str
    output_name: str
    model_name: str
    signature_name: str
    message_bytes: int

    def encoded(self, data: bytes) -> bytes:
        """A request of one image file: DT_STRING of shape [1]. Raises :class:`MessageTooLarge`."""
        return self.raw(data, [1], DT_STRING)

    def raw(self, data: bytes, shape: Sequence[int], datatype: int) -> bytes:
        """A request of a tensor of any type: one string, or the little-endian bytes of numbers.

        Raises:
            MessageTooLarge: the data alone exceed the limit.
        """
        check_size(len(data), self.message_bytes)
        tensor = TensorProto(dtype=cast("DataType", datatype), tensor_shape=_shape(shape))
        if datatype == DT_STRING:
            tensor.string_val.append(data)
        else:
            tensor.tensor_content = data
        return self._request(tensor)

    def numeric(self, array: npt.ArrayLike) -> bytes:
        """A request of numbers of any kind and memory order: DT_FLOAT of the array's shape.

        Raises:
            TypeError: the array holds something other than real numbers.
            MessageTooLarge: the values alone exceed the limit.
        """
        values = as_floats(array)
        check_size(values.nbytes, self.message_bytes, len(values) if values.ndim else 1)
        shape = _shape(values.shape)
        return self._request(TensorProto(dtype=DT_FLOAT, tensor_shape=shape, tensor_content=values.tobytes()))

    def output(self, response: bytes) -> TensorProto:
        """The output named ``output_name`` in a serialized PredictResponse.

        Raises:
            AnswerInvalid: the bytes are not a PredictResponse, or have no such output.
        """
        try:
            outputs = PredictResponse.FromString(response).outputs
        except DecodeError:
            raise _invalid("The response is not a PredictResponse.") from None
        if self.output_name not in outputs:
            present = ", ".join(sorted(outputs)) or "none"
            raise _invalid(f"The response has no output {self.output_name!r}; it has: {present}.")
        return outputs[self.output_name]

    def batch(self, response: bytes) -> Floats:
        """The output as an array of its shape. Raises :class:`AnswerInvalid`."""
        return as_array(self.output(response))

    def single(self, response: bytes) -> Floats:
        """The scores of one image: the only row of the output.

        Raises:
            AnswerInvalid: as :meth:`batch`, or the output has no row, or several.
        """
        batch = self.batch(response)
        if batch.ndim == 0 or len(batch) != 1:
            raise _invalid(f"The output's shape is {list(batch.shape)}; for one image it must start with 1.")
        scores: Floats = batch[0]
        return scores

    def _request(self, tensor: TensorProto) -> bytes:
        message = PredictRequest(inputs={self.input_name: tensor})
        if self.model_name or self.signature_name:
            message.model_spec.CopyFrom(ModelSpec(name=self.model_name, signature_name=self.signature_name))
        return message.SerializeToString()


def as_floats(array: npt.ArrayLike) -> Floats:
    """Numbers of any kind and memory order as C-ordered little-endian float32.

    Raises:
        TypeError: the array holds something other than real numbers.
    """
    given = np.asarray(array)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"an array of real numbers is required, and this one holds {given.dtype}")
    # Not ascontiguousarray, which would give a scalar a dimension.
    return np.asarray(given, dtype="<f4", order="C")


def as_array(tensor: TensorProto) -> Floats:
    """A tensor of type DT_FLOAT, in either form, as a writable array of its shape; a single value fills the shape.

    Raises:
        AnswerInvalid: it has another type, or values that do not fit its shape.
    """
    if tensor.dtype != DT_FLOAT:
        raise _invalid(f"The output's data type is number {tensor.dtype}; DT_FLOAT (1) is required.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _invalid("The output's shape is not known.")
    content = tensor.tensor_content
    if len(content) % 4:
        raise _invalid(f"The output holds {len(content)} bytes, which is not a whole number of floats.")
    values = np.frombuffer(content, "<f4").astype(np.float32) if content else np.array(tensor.float_val, np.float32)
    size = math.prod(shape)
    if values.size == 1 and 1 < size <= _MAX_REPEATED:
        return np.full(shape, values[0])
    if values.size != size:
        raise _invalid(f"The output's shape {list(shape)} does not fit its {values.size} values.")
    return values.reshape(shape)


def check_size(size: int, limit: int, images: int = 1) -> None:
    """Reject data that no message can hold, before they are copied into one.

    Args:
        size: bytes of all images together.
        limit: bytes of a message.
        images: how many there are, for the error.

    Raises:
        MessageTooLarge: it names how many would fit.
    """
    if size > limit:
        fitting = limit * images // size
        more = f"; {fitting} of the {images} images fit" if images > 1 else ""
        cause = f"The request holds {size:,} bytes, and a message {limit:,} at most{more}."
        raise MessageTooLarge(cause, StatusCode.RESOURCE_EXHAUSTED)


def _shape(sizes: Sequence[int]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _invalid(cause: str) -> AnswerInvalid:
    return AnswerInvalid(cause, StatusCode.INTERNAL)
