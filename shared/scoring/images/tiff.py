"""Reads the orientation from EXIF metadata, a TIFF structure, with bounds checks and limits."""

import struct

_ORIENTATION = 0x0112
_SHORT = 3
# An image's first directory has some dozens of entries; entries beyond this limit are ignored.
_MAX_ENTRIES = 512


def orientation(exif: bytes) -> int:
    """The orientation from 1 (upright) to 8 (EXIF 2.3, tag 274); 1 if the metadata is missing or invalid.

    ``exif`` is the TIFF structure, with or without ``Exif`` and two zero bytes before it.
    """
    body = exif[6:] if exif.startswith(b"Exif\x00\x00") else exif
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(body[:4])
    if order is None:
        return 1
    try:
        return _search(body, order)
    except struct.error:
        return 1


def _search(body: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", body, 4)
    (count,) = struct.unpack_from(f"{order}H", body, start)
    entry = struct.Struct(f"{order}HHIH")
    for at in range(start + 2, start + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        tag, kind, _, value = entry.unpack_from(body, at)
        if tag == _ORIENTATION:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1
