"""The few parts of protobuf's wire format that requests are assembled from by hand.

https://protobuf.dev/programming-guides/encoding/
"""

# Wire types: a varint, and a length with that many bytes after it.
VARINT, LENGTH = 0, 2


def field(number: int, payload: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return tag(number, LENGTH) + varint(len(payload)) + payload


def tag(number: int, wire_type: int) -> bytes:
    """What a field starts with."""
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """A number from 0, seven bits a byte, the lowest first."""
    if value <= 0x7F:
        return bytes((value,))
    if value <= 0x3FFF:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value <= 0x1FFFFF:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
