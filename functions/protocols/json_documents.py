"""JSON documents; in large ones, lists of numbers are taken out of the text, and read apart from the rest.

A parser holds the interpreter from the first byte to the last, in any thread: one image as numbers takes it some 10 ms,
and the objects of sixteen take hundreds of megabytes. So a list of nothing but numbers is found in the text with array
operations, read a piece at a time, and kept as 32-bit floats. What remains of the document is small, or is refused
before anything is built from it: ``[[],[],...]`` has a hundred times its bytes in objects.
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import InvalidTensor
from shared.upstream.codecs import MAX_RANK

# Bytes of a document that is simply parsed, whatever is in it: in at most a few milliseconds.
SMALL = 65_536

# Numbers and lists of them: 16 images of 448 x 448 pixels. Other values: far more than the names of any request.
_MAX_NUMBERS, _MAX_LISTS, _MAX_OTHERS = 10_000_000, 4_000_000, 50_000
_PIECE = 20_000
# Backslashes in a row.
_RUN = 64
_NUMBER_TYPES = frozenset((int, float))

_OPEN, _CLOSE, _COMMA, _BRACE, _QUOTE = b'[],{"'
_EMPTY_LIST = re.compile(rb"\[[ \t\r\n]*\]")
_WITHOUT_BRACKETS = bytes.maketrans(b"[]", b"  ")

type _Bytes = npt.NDArray[np.uint8]


class Numbers(NamedTuple):
    """Nested lists of numbers: their shape, and the numbers as little-endian 32-bit floats."""

    shape: tuple[int, ...]
    content: memoryview


def parse_object(text: bytes | memoryview) -> dict[str, Any]:
    """A JSON object; long lists of numbers in it are :class:`Numbers`.

    Raises:
        InvalidTensor: the text is not JSON, not an object, or has more values than any request has.
    """
    document = _loads(text) if len(text) <= SMALL else _parse_large(bytes(text))
    if not isinstance(document, dict):
        raise InvalidTensor("The body is JSON, but not an object.")
    return document


def floats(numbers: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Numbers as little-endian 32-bit floats.

    Raises:
        InvalidTensor: one is beyond their range.
    """
    try:
        with np.errstate(over="raise"):
            return np.array(numbers, dtype=np.float64).astype("<f4")
    except (FloatingPointError, OverflowError):
        raise InvalidTensor("There is a number too large for a 32-bit float.") from None


def _parse_large(text: bytes) -> Any:
    """A document whose long lists of numbers are :class:`Numbers`.

    Raises:
        InvalidTensor: the document is not JSON, or has more values than any request has.
    """
    view = np.frombuffer(text, np.uint8)
    for mark, limit in ((_COMMA, _MAX_NUMBERS), (_OPEN, _MAX_LISTS), (_BRACE, _MAX_OTHERS), (_QUOTE, 4 * _MAX_OTHERS)):
        if np.count_nonzero(view == mark) > limit:
            raise InvalidTensor(f"The JSON has more than {limit} times {chr(mark)!r}; no request needs as many.")
    found, rest = list[Numbers](), list[bytes]()
    at = 0
    for start, end in _long_lists(text, view):
        numbers = _numbers(text[start:end])
        if numbers is not None:
            rest += [text[at:start], b'"\\u0000%d"' % len(found)]
            found.append(numbers)
            at = end
    remaining = b"".join([*rest, text[at:]])
    others = np.frombuffer(remaining, np.uint8)
    if np.count_nonzero((others == _COMMA) | (others == _OPEN) | (others == _BRACE)) > _MAX_OTHERS:
        raise InvalidTensor(
            f"The JSON has more than {_MAX_OTHERS} values; only numbers, in lists of equal lengths, may be more."
        )
    document = _loads(remaining)
    return _with_numbers(document, found) if found else document


def _loads(text: bytes | memoryview) -> Any:
    """A document as Python's objects; numbers may be NaN or Infinity, as TensorFlow Serving reads them.

    Raises:
        InvalidTensor: it is not JSON.
    """
    import orjson  # noqa: PLC0415 - no cold start needs it

    try:
        return orjson.loads(text)
    except ValueError:
        copy = bytes(text)
    # orjson accepts strict JSON only. A large document is not parsed twice for the sake of a better message.
    if len(copy) > SMALL and b"NaN" not in copy and b"Infinity" not in copy:
        raise InvalidTensor("The body is not JSON in UTF-8.")
    try:
        return json.loads(copy)
    except (ValueError, RecursionError):
        raise InvalidTensor("The body is not JSON in UTF-8.") from None


def _long_lists(text: bytes, view: _Bytes) -> Iterator[tuple[int, int]]:
    """Where lists without strings start and end that are more than ``SMALL`` bytes long."""
    quotes = np.flatnonzero(view == _QUOTE)
    if b"\\" in text:
        if b"\\u0000" in text or b"\\" * _RUN in text:
            return
        quotes = quotes[[not _is_escaped(text, at) for at in quotes.tolist()]]
    starts, ends = np.append(0, quotes[1::2] + 1), np.append(quotes[::2], len(text))
    count = min(len(starts), len(ends))
    for index in np.flatnonzero(ends[:count] - starts[:count] > SMALL):
        at, end = int(starts[index]), int(ends[index])
        brackets = at + np.flatnonzero((view[at:end] == _OPEN) | (view[at:end] == _CLOSE))
        depths = np.cumsum(np.where(view[brackets] == _OPEN, 1, -1), dtype=np.int32)
        # The list starts where the first bracket opens, and ends where as many are closed.
        closed = np.flatnonzero(depths == 0)
        if len(closed) and view[brackets[0]] == _OPEN:
            yield int(brackets[0]), int(brackets[closed[0]]) + 1


def _is_escaped(text: bytes, at: int) -> bool:
    """Whether an odd number of backslashes, of fewer than ``_RUN``, is before a place."""
    before = text[max(0, at - _RUN) : at]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1


def _numbers(text: bytes) -> Numbers | None:
    """The numbers of a list, or None where something else is in it, or its lists are empty or differ in length."""
    view = np.frombuffer(text, np.uint8)
    is_comma = view == _COMMA
    shape = _shape(view[is_comma | (view == _OPEN) | (view == _CLOSE)].tobytes())
    if shape is None:
        return None
    commas = np.flatnonzero(is_comma)
    cuts = [-1, *(int(cut) for cut in commas[_PIECE - 1 :: _PIECE]), len(text)]
    content = np.empty(len(commas) + 1, "<f4")
    at = 0
    for start, end in pairwise(cuts):
        # Its brackets are spaces: they were checked, and now separate nothing.
        part = text[start + 1 : end]
        try:
            piece = _loads(b"[%b]" % part.translate(_WITHOUT_BRACKETS))
        except InvalidTensor:
            if _EMPTY_LIST.search(part):
                return None
            raise
        if at + len(piece) > len(content) or not set(map(type, piece)) <= _NUMBER_TYPES:
            return None
        content[at : at + len(piece)] = floats(piece)
        at += len(piece)
    return Numbers(shape, content.data.cast("B")) if at == len(content) else None


def _shape(structure: bytes) -> tuple[int, ...] | None:
    """The shape of nested lists of equal lengths, from their brackets and commas; None for others."""
    rank = len(structure) - len(structure.lstrip(b"["))
    if rank > MAX_RANK:
        return None
    sizes, inner = list[int](), b""
    for depth in range(rank, 0, -1):
        # The first list of this depth ends where it and all that it contains last are closed.
        closing = b"]" * (rank - depth + 1)
        length = structure.find(closing) + len(closing) - (depth - 1)
        size = (length - 1) // (len(inner) + 1)
        sizes.insert(0, size)
        inner = b"[" + (inner + b",") * (size - 1) + inner + b"]"
    return tuple(sizes) if inner == structure else None


def _with_numbers(value: Any, found: list[Numbers]) -> Any:
    """The document with the numbers in the places that they were taken from; no other string starts with a NUL."""
    if isinstance(value, dict):
        return {name: _with_numbers(one, found) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_numbers(one, found) for one in value]
    return found[int(value[1:])] if isinstance(value, str) and value.startswith("\0") else value
