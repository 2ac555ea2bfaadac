"""The header of a PNG file (https://www.w3.org/TR/png-3/): a walk over its chunks."""

import struct

from shared.errors import DamagedImage
from shared.scoring.images import icc, tiff
from shared.scoring.images.header import Header

_IHDR = struct.Struct(">I4sIIBBBBB")
_CHUNK = struct.Struct(">I4s")
_ALPHA = frozenset({4, 6})  # grey or RGB, each with an alpha channel
# 20 MB in pieces of 2 KiB, smaller than those of any common encoder.
_MAX_CHUNKS = 10_000


def read(data: bytes) -> Header:
    """Read the header of a PNG file.

    Raises:
        DamagedImage: it does not begin with the header chunk, or nothing that an encoder would write.
    """
    if len(data) < 33:
        raise DamagedImage("The PNG file ends in its header.")
    length, name, width, height, depth, colour, *_ = _IHDR.unpack_from(data, 8)
    if name != b"IHDR" or length != 13 or not width or not height:
        raise DamagedImage("The PNG file does not say how large its picture is.")
    ends_well, ordinary = _walk(data)
    # Decoders to eight bits cut or clip sixteen, each in its own way.
    return Header(width, height, ends_well and ordinary and depth <= 8 and colour not in _ALPHA)


def _walk(data: bytes) -> tuple[bool, bool]:
    """Whether the file is there to its end, and whether no chunk asks for more than showing the pixels as they are."""
    at, ordinary = 33, True
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return False, ordinary
        length, name = _CHUNK.unpack_from(data, at)
        if name == b"IEND":
            return True, ordinary
        if name in _TELLING and ordinary:
            ordinary = _TELLING[name](data[at + 8 : at + 8 + length])
        at += 12 + length
    raise DamagedImage("The PNG file has more chunks than any encoder writes.")


def _is_upright(exif: bytes) -> bool:
    return tiff.orientation(exif) == 1


def _is_near_srgb(chunk: bytes) -> bool:
    name, _, packed = chunk.partition(b"\x00")
    return len(name) < 80 and icc.distance(icc.inflate(packed[1:])).is_small


_TELLING = {
    b"tRNS": lambda _: False,
    b"eXIf": _is_upright,
    b"iCCP": _is_near_srgb,
}
