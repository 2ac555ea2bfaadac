"""Tensors in JSON, as nested lists: their shape, and their numbers in the wire's form."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from shared.errors import InvalidTensor

# TensorFlow's own limit on the dimensions of a shape.
MAX_RANK = 254
_NUMBERS = frozenset((int, float))
_JSON_NAMES = {bool: "a boolean", dict: "an object", list: "a list", str: "a string", type(None): "null"}


def dense(values: object) -> tuple[tuple[int, ...], Sequence[object]]:
    """The shape of nested lists, and their values, flat; a value that is not a list has the shape ``()``.

    Raises:
        InvalidTensor: lists at one depth differ in length, or are mixed with other values.
    """
    shape: list[int] = []
    level: Sequence[object] = [values]
    while level and isinstance(level[0], list):
        length = len(level[0])
        if len(shape) == MAX_RANK:
            raise InvalidTensor(f"The lists are nested more than {MAX_RANK} deep.")
        for item in level:
            if not isinstance(item, list):
                raise InvalidTensor(
                    f"At depth {len(shape) + 1} there is {type_name(item)} where other values are lists."
                )
            if len(item) != length:
                raise InvalidTensor(
                    f"At depth {len(shape) + 1} there is a list of {len(item)} values; the first there has {length}."
                )
        shape.append(length)
        # A single list needs no chaining: most tensors begin with a dimension or two of one.
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))  # type: ignore[arg-type] # all are lists
    if list in set(map(type, level)):
        raise InvalidTensor(f"At depth {len(shape) + 1} there is a list where other values are not lists.")
    return tuple(shape), level


def packed(numbers: Sequence[object]) -> memoryview:
    """Numbers as little-endian 32-bit floats.

    Raises:
        InvalidTensor: something else is among them, or a number beyond the range of 32-bit floats.
    """
    if not numbers:
        return memoryview(b"")
    others = set(map(type, numbers)) - _NUMBERS
    if others:
        # Only its type: the value may be long.
        raise InvalidTensor(f"There is {_JSON_NAMES[others.pop()]} where a number is expected.")
    try:
        with np.errstate(over="raise"):
            return np.array(numbers, dtype=np.float64).astype("<f4").data.cast("B")
    except (FloatingPointError, OverflowError):
        raise InvalidTensor("There is a number too large for a 32-bit float.") from None


def type_name(value: object) -> str:
    """JSON's name of a value's type."""
    return _JSON_NAMES.get(type(value), "a number")
