"""TensorFlow's tensors of any datatype: their values are in ``tensor_content``, or in a list for their type."""

import math

import numpy as np

from protos.tensor_pb2 import (
    DT_BFLOAT16,
    DT_BOOL,
    DT_DOUBLE,
    DT_FLOAT,
    DT_HALF,
    DT_INT8,
    DT_INT16,
    DT_INT32,
    DT_INT64,
    DT_STRING,
    DT_UINT8,
    DT_UINT16,
    DT_UINT32,
    DT_UINT64,
    TensorProto,
)
from shared.errors import ServiceAnswerInvalid
from shared.quoting import printable
from shared.upstream.codecs.interface import MAX_RANK, MAX_VALUES, Tensor
from shared.upstream.codecs.tensors import FORMS, tensor

# The names of datatypes in the Open Inference Protocol.
DATATYPES: dict[int, str] = {
    DT_FLOAT: "FP32",
    DT_DOUBLE: "FP64",
    DT_INT32: "INT32",
    DT_UINT8: "UINT8",
    DT_INT16: "INT16",
    DT_INT8: "INT8",
    DT_STRING: "BYTES",
    DT_INT64: "INT64",
    DT_BOOL: "BOOL",
    DT_BFLOAT16: "BF16",
    DT_UINT16: "UINT16",
    DT_HALF: "FP16",
    DT_UINT32: "UINT32",
    DT_UINT64: "UINT64",
}
# The lists of other datatypes than the small whole numbers, which share one.
_LISTS = {
    "FP32": "float_val",
    "FP64": "double_val",
    "INT64": "int64_val",
    "BOOL": "bool_val",
    "FP16": "half_val",
    "BF16": "half_val",
    "UINT32": "uint32_val",
    "UINT64": "uint64_val",
}


def read(name: str, found: TensorProto) -> Tensor:
    """A tensor with its name; a list with a single value stands for a tensor filled with it.

    Raises:
        ServiceAnswerInvalid: its parts do not fit each other, or exceed the bounds.
    """
    datatype = DATATYPES.get(found.dtype, f"number {found.dtype}")
    shape = tuple(dim.size for dim in found.tensor_shape.dim)
    if datatype == "BYTES":
        return tensor(name, datatype, shape, list(found.string_val))
    content = found.tensor_content
    if not content and datatype in FORMS:
        content = _listed(name, found, datatype)
        size, count = np.dtype(FORMS[datatype]).itemsize, math.prod(shape) if shape and min(shape) >= 0 else 1
        if len(content) == size and 1 < count <= MAX_VALUES and len(shape) <= MAX_RANK:
            content *= count
    return tensor(name, datatype, shape, content)


def packed(found: TensorProto, name: str, size: int) -> bytes:
    """The values of a list of numbers of a fixed size; all else is removed from the tensor.

    A thousand values, read one at a time through protobuf's Python objects, would take longer than all else that is
    done with a response. On the wire they are contiguous, and are all of the message once they are its only field.
    """
    length = size * len(getattr(found, name))
    for other in TensorProto.DESCRIPTOR.fields_by_name:
        if other != name:
            found.ClearField(other)
    found.DiscardUnknownFields()
    wire = found.SerializeToString()
    return wire[len(wire) - length :]


def _listed(name: str, found: TensorProto, datatype: str) -> bytes:
    if datatype in {"FP32", "FP64"}:
        return packed(found, _LISTS[datatype], 4 if datatype == "FP32" else 8)
    values = getattr(found, _LISTS.get(datatype, "int_val"))
    # The bits of small floating-point numbers are in whole numbers.
    form = "<u2" if datatype == "FP16" else FORMS[datatype]
    try:
        return np.array(values, form).tobytes()
    except OverflowError:
        raise ServiceAnswerInvalid(f"The output {printable(name)!r} has values beyond {datatype}.") from None
