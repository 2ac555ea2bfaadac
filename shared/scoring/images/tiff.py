"""Reads tags of a TIFF structure, which EXIF metadata is too, with bounds checks and limits (TIFF 6.0, section 2)."""

import struct
from collections.abc import Mapping

WIDTH, LENGTH, _ORIENTATION = 0x0100, 0x0101, 0x0112
_SHORT, _LONG = 3, 4
# An image's first directory has some dozens of entries; entries beyond this limit are ignored.
_MAX_ENTRIES = 512

_NEW_SUBFILE_TYPE, _COMPRESSION, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = 254, 259, 330, 339, 50706
_REDUCED = 1  # of NewSubfileType: another image of the file has the full resolution
_FLOAT = 3  # of SampleFormat
_TILE_WIDTH, _TILE_LENGTH = 322, 323
# Each tile costs the decoder some microseconds, however small it is; those of photographs have 128 pixels or more.
_MAX_TILES = 65_536
# TIFF 6.0, and those that libtiff has in the releases of Pillow.
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000, 50001})


def orientation(exif: bytes) -> int:
    """The orientation from 1 (upright) to 8 (EXIF 2.3, tag 274); 1 if the metadata is missing or invalid.

    ``exif`` is the TIFF structure, with or without ``Exif`` and two zero bytes before it.
    """
    value = tags(exif[6:] if exif.startswith(b"Exif\x00\x00") else exif).get(_ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def unsupported(data: bytes) -> str:
    """Why the image of a TIFF file cannot be used, by its tags; empty where there is no known reason."""
    found = tags(data)
    if (
        data[8:10] == b"CR"
        or _DNG_VERSION in found
        or (found.get(_NEW_SUBFILE_TYPE) == _REDUCED and _SUB_IFDS in found)
    ):
        return "The file is a camera raw file, which is not supported."
    if found.get(_SAMPLE_FORMAT) == _FLOAT:
        return "The pixels of the TIFF file are floating-point numbers, which have no defined white level."
    if found.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        return f"The TIFF file has the compression {found[_COMPRESSION]}, which is not supported."
    if _TILE_WIDTH in found and _tiles(found) > _MAX_TILES:
        return f"The TIFF file has more than {_MAX_TILES} tiles."
    return ""


def _tiles(found: Mapping[int, int]) -> int:
    across, down = (
        -(-found.get(side, 0) // max(found.get(tile, 0), 1))
        for side, tile in ((WIDTH, _TILE_WIDTH), (LENGTH, _TILE_LENGTH))
    )
    return across * down


def tags(data: bytes) -> Mapping[int, int]:
    """The first value of each SHORT or LONG tag of the first directory, 0 for other tags; those that can be read."""
    order, found = {b"II*\x00": "<", b"MM\x00*": ">"}.get(data[:4]), dict[int, int]()
    if order is None:
        return found
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        short, long = struct.Struct(f"{order}HHIH"), struct.Struct(f"{order}HHII")
        for at in range(start + 2, start + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind, number, value = short.unpack_from(data, at)
            if kind == _SHORT and number > 2:  # its values are elsewhere
                (value,) = struct.unpack_from(f"{order}H", data, long.unpack_from(data, at)[3])
            elif kind == _LONG and number == 1:
                value = long.unpack_from(data, at)[3]
            found.setdefault(tag, value if kind in {_SHORT, _LONG} else 0)
    except struct.error:
        pass
    return found
