"""JSON of a model's outputs: large ones are written in a thread, in pieces between which the event loop runs."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from shared.upstream.codecs import Tensor

# Values that orjson writes in about three milliseconds, during which it holds the interpreter's lock.
_PIECE = 65_536


def numbers(values: npt.NDArray[Any]) -> orjson.Fragment:
    """Numbers as nested lists; NaN and infinity, which JSON does not have, are null."""
    return orjson.Fragment(_json(values))


def described(one: Tensor, *, flat: bool = True) -> dict[str, object]:
    """An output with its datatype, shape and data, as the Open Inference Protocol has it; ``flat`` or in nested lists.

    Strings that are not UTF-8 are base64, and the parameter ``content_type`` says so.
    """
    values, parameters = _values(one, flat=flat)
    head: dict[str, object] = {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
    if parameters:
        head["parameters"] = parameters
    return {**head, "data": numbers(values)}


async def written[T](found: Sequence[Tensor], write: Callable[[], T]) -> T:
    """What ``write`` returns for these outputs; it is called in a thread where they are large."""
    if sum(len(one.values) if isinstance(one.values, Sequence) else one.values.size for one in found) <= _PIECE:
        return write()
    return await asyncio.to_thread(write)


def _values(one: Tensor, *, flat: bool) -> tuple[npt.NDArray[Any], dict[str, str]]:
    parameters, values = dict[str, str](), one.values
    if not isinstance(values, np.ndarray):
        try:
            texts = [value.decode() for value in values]
        except UnicodeDecodeError:
            import base64  # noqa: PLC0415 - hardly any model returns such strings

            texts, parameters = [base64.b64encode(value).decode() for value in values], {"content_type": "base64"}
        values = np.empty(len(texts), object)
        values[:] = texts
        values = values.reshape(one.shape)
    elif one.datatype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(-1) if flat else values, parameters


def _json(values: npt.NDArray[Any]) -> bytes:
    if values.size <= _PIECE or not values.ndim:
        if values.dtype == object:
            return orjson.dumps(values.tolist())
        # A copy, since they may be unaligned in the response.
        return orjson.dumps(values.copy(), option=orjson.OPT_SERIALIZE_NUMPY)
    if values.ndim > 1:
        return b"[%b]" % b",".join(map(_json, values))
    pieces = (values[start : start + _PIECE] for start in range(0, values.size, _PIECE))
    return b"[%b]" % b",".join(_json(piece)[1:-1] for piece in pieces)
