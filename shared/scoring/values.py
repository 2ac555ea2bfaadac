"""Tensors as JSON writes them, lists in lists: their shape, and their numbers as the wire wants them."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from shared.scoring.model_types import TensorRefused

# TensorFlow's own limit on the dimensions of a shape.
MAX_RANK = 254
_NUMBERS = frozenset((int, float))
_JSON_NAMES = {bool: "a boolean", dict: "an object", list: "a list", str: "a string", type(None): "null"}


def dense(values: object) -> tuple[tuple[int, ...], Sequence[object]]:
    """The shape of nested lists, and what they hold, in one row; a value that is no list has the shape ``()``.

    Raises:
        TensorRefused: lists at one depth differ in length, or stand beside other values.
    """
    shape: list[int] = []
    level: Sequence[object] = [values]
    while level and isinstance(level[0], list):
        length = len(level[0])
        if len(shape) == MAX_RANK:
            raise TensorRefused(f"The lists are nested more than {MAX_RANK} deep.")
        for item in level:
            if not isinstance(item, list):
                raise TensorRefused(f"At depth {len(shape) + 1} there is {named(item)} where other values are lists.")
            if len(item) != length:
                raise TensorRefused(
                    f"At depth {len(shape) + 1} there is a list of {len(item)} values; the first there has {length}."
                )
        shape.append(length)
        # One list is no news to chain: most tensors begin with a dimension or two of one.
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))  # type: ignore[arg-type] # all are lists
    if list in set(map(type, level)):
        raise TensorRefused(f"At depth {len(shape) + 1} there is a list where other values are none.")
    return tuple(shape), level


def packed(numbers: Sequence[object]) -> memoryview:
    """Numbers as little-endian 32-bit floats.

    Raises:
        TensorRefused: something else is among them, or a number that no 32-bit float comes near.
    """
    if not numbers:
        return memoryview(b"")
    others = set(map(type, numbers)) - _NUMBERS
    if others:
        # By type alone: what was sent may be long.
        raise TensorRefused(f"There is {_JSON_NAMES[others.pop()]} where a number is expected.")
    try:
        with np.errstate(over="raise"):
            return np.array(numbers, dtype=np.float64).astype("<f4").data.cast("B")
    except (FloatingPointError, OverflowError):
        raise TensorRefused("There is a number too large for a 32-bit float.") from None


def named(value: object) -> str:
    """What JSON calls a value's type."""
    return _JSON_NAMES.get(type(value), "a number")
