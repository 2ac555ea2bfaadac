"""Bounds of a serialized response, checked before protobuf parses it.

Two bytes on the wire can become some hundred in memory (an empty map entry), so what a response may contain is bounded
in its number of fields, and not only in its length. The fields are counted on the wire, as the parser would find them.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from shared.errors import ServiceAnswerInvalid

# The fields of fixed length, by wire type.
_FIXED = {1: 8, 5: 4}
_VARINT, _LENGTH = 0, 2

# Of protobuf's implementation in Python or in C.
type _Descriptor = Any
type _Messages = Mapping[int, "_Messages"]


class Bounds(NamedTuple):
    """The most bytes and fields that a response may have; what a message in it contains counts too."""

    size: int
    fields: int


def parse[M: Message](kind: type[M], data: bytes, bounds: Bounds) -> M:
    """Parse a message that is within the bounds.

    Raises:
        ServiceAnswerInvalid: it is not, or is not such a message.
    """
    name = kind.DESCRIPTOR.name
    if len(data) > bounds.size:
        raise ServiceAnswerInvalid(f"The {name} has {len(data)} bytes; {bounds.size} are accepted.")
    try:
        if not _has_at_most(bounds.fields, data, kind.DESCRIPTOR):
            raise ServiceAnswerInvalid(f"The {name} has more than {bounds.fields} fields.")
        return kind.FromString(data)
    except (DecodeError, IndexError) as error:
        raise ServiceAnswerInvalid(f"The response is not a {name}.") from error


def _has_at_most(limit: int, data: bytes, descriptor: _Descriptor) -> bool:
    """Whether a message has no more fields than that.

    Raises:
        DecodeError, IndexError: it is not a message.
    """
    # The messages that are still to be counted: where each starts and ends, and those that it may contain.
    waiting = [(0, len(data), _messages_in(descriptor))]
    count = 0
    while waiting:
        at, end, inner = waiting.pop()
        while at < end:
            count += 1
            if count > limit:
                return False
            tag, at = _varint(data, at)
            wire_type = tag & 7
            if wire_type == _VARINT:
                _, at = _varint(data, at)
            elif wire_type == _LENGTH:
                size, at = _varint(data, at)
                if size and (found := inner.get(tag >> 3)) is not None:
                    waiting.append((at, min(at + size, end), found))
                at += size
            elif wire_type in _FIXED:
                at += _FIXED[wire_type]
            else:
                raise DecodeError("groups are not used in these protocols")
    return True


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise DecodeError("a number has more than 64 bits")


@functools.cache
def _messages_in(descriptor: _Descriptor) -> _Messages:
    """The fields of a message that are messages, by number. None contains itself."""
    return {
        field.number: _messages_in(field.message_type) for field in descriptor.fields if field.message_type is not None
    }
