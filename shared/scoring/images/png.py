"""Reads the header and the chunks of a PNG file (https://www.w3.org/TR/png-3/)."""

import struct
from collections.abc import Iterator

from shared.errors import DamagedImage
from shared.scoring.images import icc, tiff
from shared.scoring.images.header import Header

_IHDR = struct.Struct(">I4sIIBBBBB")
_CHUNK = struct.Struct(">I4s")
_ALPHA = frozenset({4, 6})  # colour types: grey or RGB, with an alpha channel
# 20 MB in chunks of 2 KiB, smaller than those of any common encoder.
_MAX_CHUNKS = 10_000
FIRST_CHUNK = 33  # where the first chunk after the header starts


def read(data: bytes) -> Header:
    """Read the header of a PNG file.

    Raises:
        DamagedImage: it does not start with a header chunk, or has more chunks than any encoder writes.
    """
    if len(data) < FIRST_CHUNK:
        raise DamagedImage("The PNG file ends within its header.")
    length, name, width, height, depth, colour, *_ = _IHDR.unpack_from(data, 8)
    if name != b"IHDR" or length != 13 or not width or not height:
        raise DamagedImage("The PNG header contains no image size.")
    complete, plain = _walk(data)
    # Decoders reduce sixteen bits to eight in different ways.
    return Header(width, height, complete and plain and depth <= 8 and colour not in _ALPHA)


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk after the header, up to IEND; the end may be after that of a truncated file.

    Raises:
        DamagedImage: there are more than any encoder writes.
    """
    at = FIRST_CHUNK
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return
        length, name = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        yield name, at, end
        if name == b"IEND":
            return
        at = end
    raise DamagedImage("The PNG file has too many chunks.")


def _walk(data: bytes) -> tuple[bool, bool]:
    """Whether the file is complete, and whether no chunk changes how its pixels are rendered."""
    name, plain = b"", True
    for name, start, end in chunks(data):
        if name in _IS_PLAIN and plain:
            plain = _IS_PLAIN[name](data[start + 8 : end - 4])
    return name == b"IEND", plain


def _is_upright(exif: bytes) -> bool:
    return tiff.orientation(exif) == 1


def _is_near_srgb(chunk: bytes) -> bool:
    name, _, compressed = chunk.partition(b"\x00")
    return len(name) < 80 and icc.distance(icc.inflate(compressed[1:])).is_small


# Chunks that may change how the pixels are rendered, and whether one leaves them unchanged.
_IS_PLAIN = {
    b"tRNS": lambda _: False,
    b"eXIf": _is_upright,
    b"iCCP": _is_near_srgb,
}
