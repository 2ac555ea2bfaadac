"""JSON whose long strings, base64 of images, are taken out of the text before it is parsed.

A parser holds the interpreter from the first byte to the last, in any thread: a millisecond for each megabyte, and far
longer where a million values are in it. What remains without the long strings is small, or is refused.
"""

from collections.abc import Iterator
from typing import Any

from shared.errors import MalformedJson

# Bytes of a string that is taken out; marks of structure that a document may have.
_LONG, _MAX_MARKS = 65_536, 20_000
_MARKS = b',[{"'
_QUOTE = ord('"')


def loads(text: bytes) -> Any:
    """The document; long strings without escapes are ``memoryview`` of their text.

    Raises:
        MalformedJson: it is not JSON, or has more values than any request has.
    """
    if len(text) <= _LONG:
        return _parsed(text)
    import numpy as np  # noqa: PLC0415 - no cold start needs it

    view = np.frombuffer(text, np.uint8)
    if sum(int(np.count_nonzero(view == mark)) for mark in _MARKS) > _MAX_MARKS:
        raise MalformedJson("The JSON has far more values than images and options.")
    found, rest, at = list[memoryview](), list[bytes](), 0
    for start, end in _long_strings(text, np.flatnonzero(view == _QUOTE).tolist()):
        rest += [text[at:start], b"\\u0000%d" % len(found)]
        found.append(memoryview(text)[start:end])
        at = end
    return _with_strings(_parsed(b"".join([*rest, text[at:]])), found)


def _long_strings(text: bytes, quotes: list[int]) -> Iterator[tuple[int, int]]:
    """Where the long strings without escapes start and end."""
    if b"\\u0000" in text:  # it could be taken for one that was taken out
        return
    start = -1
    for quote in quotes:
        if start < 0:
            start = quote + 1
        elif not _is_escaped(text, start, quote):
            if quote - start > _LONG and text.find(b"\\", start, quote) < 0:
                yield start, quote
            start = -1


def _is_escaped(text: bytes, start: int, at: int) -> bool:
    before = at
    while before > start and text[before - 1] == ord("\\"):
        before -= 1
    return (at - before) % 2 == 1


def _parsed(text: bytes) -> Any:
    import orjson  # noqa: PLC0415 - no cold start needs it

    try:
        return orjson.loads(text)
    except ValueError as error:
        raise MalformedJson("The body is not JSON in UTF-8.") from error


def _with_strings(value: Any, found: list[memoryview]) -> Any:
    """The document with the strings in the places that they were taken from; no other one starts with a NUL."""
    if isinstance(value, dict):
        return {name: _with_strings(one, found) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_strings(one, found) for one in value]
    return found[int(value[1:])] if found and isinstance(value, str) and value.startswith("\0") else value
