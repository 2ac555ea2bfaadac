"""Requests and answers of a prediction client, as bytes and as numpy arrays. Imported late: numpy takes 50 ms.

Values travel as little-endian bytes in ``tensor_content``, never through protobuf's lists, which would pass 150,000
values of one image through Python one at a time. Answers may hold theirs in either form.
"""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from grpc import StatusCode

from protos.serving_pb2 import ModelSpec, PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, DT_STRING, DataType, TensorProto, TensorShapeProto
from shared.fpga.prediction_errors import AnswerInvalid, MessageTooLarge

type Floats = npt.NDArray[np.float32]

# What a single value may be spread to: 16 times what a message of 4 MiB can hold.
_MAX_SPREAD = 16 * 1024 * 1024


def pixels(array: npt.ArrayLike) -> Floats:
    """Numbers of any kind and order as C-ordered little-endian float32.

    Raises:
        TypeError: they are no real numbers.
    """
    given = np.asarray(array)
    if given.dtype.kind not in "biuf":
        raise TypeError(f"an array of real numbers is needed, and this one holds {given.dtype}")
    # Not ascontiguousarray, which would give a scalar a dimension.
    return np.asarray(given, dtype="<f4", order="C")


def numeric_tensor(array: Floats) -> TensorProto:
    """A tensor of type DT_FLOAT, of the array's shape."""
    return TensorProto(dtype=DT_FLOAT, tensor_shape=_shape(array.shape), tensor_content=array.tobytes())


def raw_tensor(data: bytes, shape: Sequence[int], datatype: int) -> TensorProto:
    """A tensor of any type: one string, or the little-endian bytes of numbers."""
    tensor = TensorProto(dtype=cast("DataType", datatype), tensor_shape=_shape(shape))
    if datatype == DT_STRING:
        tensor.string_val.append(data)
    else:
        tensor.tensor_content = data
    return tensor


def request(tensor: TensorProto, *, input_name: str, model: str, signature: str) -> bytes:
    """A serialized PredictRequest; its model_spec is left out where nothing is to be said in it."""
    message = PredictRequest(inputs={input_name: tensor})
    if model or signature:
        message.model_spec.CopyFrom(ModelSpec(name=model, signature_name=signature))
    return message.SerializeToString()


def check_size(size: int, limit: int, images: int = 1) -> None:
    """Refuse what no message may hold before it is copied into one.

    Args:
        size: bytes of all images together.
        limit: bytes of a message.
        images: how many they are, for the error.

    Raises:
        MessageTooLarge: it says how many would fit.
    """
    if size > limit:
        fitting = limit * images // size
        more = f", into which {fitting} of the {images} images fit" if images > 1 else ""
        words = f"The request holds {size:,} bytes, and a message {limit:,} at most{more}."
        raise MessageTooLarge(words, StatusCode.RESOURCE_EXHAUSTED)


def output(response: bytes, name: str) -> TensorProto:
    """The output of that name in a serialized PredictResponse.

    Raises:
        AnswerInvalid: it is no PredictResponse, or has no such output.
    """
    try:
        outputs = PredictResponse.FromString(response).outputs
    except DecodeError:
        raise _invalid("The answer is no PredictResponse.") from None
    if name not in outputs:
        raise _invalid(f"The answer has no output {name!r}; it has: {', '.join(sorted(outputs)) or 'none'}.")
    return outputs[name]


def values(tensor: TensorProto) -> Floats:
    """A tensor of type DT_FLOAT as an array of its shape, writable, in either form; a single value fills the shape.

    Raises:
        AnswerInvalid: it has another type, or values that do not fit its shape.
    """
    if tensor.dtype != DT_FLOAT:
        raise _invalid(f"The output's data type is number {tensor.dtype}; DT_FLOAT (1) is needed.")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _invalid("The output's shape is not known.")
    content = tensor.tensor_content
    if len(content) % 4:
        raise _invalid(f"The output holds {len(content)} bytes, which are no whole number of floats.")
    found = np.frombuffer(content, "<f4").astype(np.float32) if content else np.array(tensor.float_val, np.float32)
    wanted = math.prod(shape)
    if found.size == 1 and 1 < wanted <= _MAX_SPREAD:
        return np.full(shape, found[0])
    if found.size != wanted:
        raise _invalid(f"The output's shape {list(shape)} does not fit its {found.size} values.")
    return found.reshape(shape)


def only(batch: Floats) -> Floats:
    """The answer for the one image of a batch.

    Raises:
        AnswerInvalid: the batch holds none, or several.
    """
    if batch.ndim == 0 or len(batch) != 1:
        raise _invalid(f"The output's shape is {list(batch.shape)}; that of one image begins with 1.")
    answer: Floats = batch[0]
    return answer


def _shape(sizes: Sequence[int]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _invalid(words: str) -> AnswerInvalid:
    return AnswerInvalid(words, StatusCode.INTERNAL)
