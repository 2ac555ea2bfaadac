"""Tensors in JSON, as nested lists: their shape, and their numbers in the wire's form."""

import binascii
from collections.abc import Sequence
from itertools import chain

from functions.protocols.json_documents import Numbers, floats
from shared.errors import InvalidTensor
from shared.upstream.codecs import MAX_RANK

# A multiple of four characters.
_BASE64_PIECE = 1_048_576
_NUMBERS = frozenset((int, float))
_JSON_NAMES = {bool: "a boolean", dict: "an object", list: "a list", str: "a string", type(None): "null"}


def dense(values: object) -> tuple[tuple[int, ...], Sequence[object] | Numbers]:
    """The shape of nested lists, and their values, flat; a value that is not a list has the shape ``()``.

    Raises:
        InvalidTensor: lists at one depth differ in length, or are mixed with other values.
    """
    if isinstance(values, Numbers):
        return values.shape, values
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
    types = set(map(type, level))
    if types == {Numbers}:
        return _stacked(tuple(shape), level)  # type: ignore[arg-type] # all are
    if types & {list, Numbers}:
        raise InvalidTensor(f"At depth {len(shape) + 1} there is a list where other values are not lists.")
    return tuple(shape), level


def packed(numbers: Sequence[object] | Numbers) -> memoryview:
    """Numbers as little-endian 32-bit floats.

    Raises:
        InvalidTensor: something else is among them, or a number beyond the range of 32-bit floats.
    """
    if isinstance(numbers, Numbers):
        return numbers.content
    if not numbers:
        return memoryview(b"")
    others = set(map(type, numbers)) - _NUMBERS
    if others:
        # Only its type: the value may be long.
        raise InvalidTensor(f"There is {_JSON_NAMES[others.pop()]} where a number is expected.")
    return floats(numbers).data.cast("B")


def _stacked(shape: tuple[int, ...], all_numbers: Sequence[Numbers]) -> tuple[tuple[int, ...], Numbers]:
    """Numbers of one shape as one."""
    inner = all_numbers[0].shape
    for one in all_numbers:
        if one.shape != inner:
            depth = len(shape) + 1
            raise InvalidTensor(f"At depth {depth} there are lists of the shapes {list(inner)} and {list(one.shape)}.")
    if len(shape) + len(inner) > MAX_RANK:
        raise InvalidTensor(f"The lists are nested more than {MAX_RANK} deep.")
    stacked = Numbers((*shape, *inner), memoryview(b"".join(one.content for one in all_numbers)))
    return stacked.shape, stacked


def from_base64(text: str) -> bytes:
    """The bytes of strict base64; decoded in pieces, between which other threads run.

    Raises:
        ValueError: it is not base64.
    """
    pieces = [
        binascii.a2b_base64(text[at : at + _BASE64_PIECE], strict_mode=True)
        for at in range(0, len(text), _BASE64_PIECE)
    ]
    if any(len(piece) < _BASE64_PIECE // 4 * 3 for piece in pieces[:-1]):
        raise ValueError("there is padding before the end")
    return b"".join(pieces)


def type_name(value: object) -> str:
    """JSON's name of a value's type."""
    return "a list" if isinstance(value, Numbers) else _JSON_NAMES.get(type(value), "a number")
