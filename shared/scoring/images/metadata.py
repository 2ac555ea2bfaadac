"""Removes what is not needed to show an image from a JPEG or PNG file: position, serial numbers, thumbnails, comments.

Only the segments or chunks that decoding needs are kept, and what follows the image's end is cut off, so metadata of a
kind that is not known here is removed as well. The image data is copied, not decoded: the pixels stay the same. Some
tens of microseconds for an ordinary file, 0.3 ms for each megabyte of a large one.
"""

from collections.abc import Callable, Mapping, Sequence

from shared.errors import DamagedImage
from shared.scoring.images import png
from shared.scoring.images.formats import Format
from shared.scoring.images.segments import TABLES, Head, head, segments

type _Parts = Sequence[bytes | memoryview]

# A motion photograph's video has some megabytes. Of a file with more, the search for the image's end takes long.
_MAX_REMOVED = 16_000_000

_EOI = 0xD9
_APP0, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
# Of a JPEG's segments, without those of the rarely supported kinds of frames: frame headers, scans, tables.
_JPEG_IMAGE = TABLES | {0xC0, 0xC1, 0xC2, 0xDA}
# JFIF (ISO/IEC 10918-5) and Adobe's segment (T.872) decide how the components become colours. Nothing after these
# bytes does; in JFIF's, a thumbnail follows, whose width and height are the last two.
_JFIF, _JFIF_SIZE = b"JFIF\x00", 18
_ADOBE, _ADOBE_SIZE = b"Adobe", 16
_PROFILE = b"ICC_PROFILE\x00"

_PNG_IMAGE = frozenset({b"PLTE", b"IDAT", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP"})
_ANCILLARY = 0x20  # the bit of a chunk's first letter by which decoders may ignore the chunk
_IEND = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"


def without_metadata(data: bytes, kind: Format, max_bytes: int, start: Head | None = None) -> bytes | None:
    """The same image without metadata; ``data`` itself where there is nothing to remove. ``start``: a JPEG file's.

    None where it would still have more than ``max_bytes``; and where the file is truncated or irregular, which its
    decoder then reports.
    """
    if len(data) > max_bytes + _MAX_REMOVED:
        return None
    try:
        parts = _PARTS[kind](data, start)
    except (IndexError, DamagedImage):
        return None
    size = sum(map(len, parts)) if parts else 0
    if not parts or size > max_bytes:
        return None
    return data if size == len(data) else b"".join(parts)


def _jpeg_parts(data: bytes, start: Head | None) -> _Parts | None:
    found, scan, regular = start or head(data)
    if not regular:
        return None
    view, parts = memoryview(data), list[bytes | memoryview]()
    kept = 0  # where what is kept as it is begins
    for marker, at, end in (*found, *segments(data, scan)):
        if marker in _JPEG_IMAGE:
            continue
        if marker == _EOI:
            return [*parts, view[kept:end]]
        if marker != _COM and not _APP0 <= marker <= _APP15:
            return None
        segment = view[at:end]
        needed = _needed(marker, segment)
        if needed is not segment:
            parts += view[kept:at], needed
            kept = end
    return None


def _needed(marker: int, segment: memoryview) -> bytes | memoryview:
    """The part of an application segment that a decoder needs, if any."""
    if marker == _APP0 and segment[4:9] == _JFIF and len(segment) >= _JFIF_SIZE:
        return segment if len(segment) == _JFIF_SIZE else _shortened(segment[: _JFIF_SIZE - 2], b"\x00\x00")
    if marker == _APP2 and segment[4:16] == _PROFILE:
        return segment
    if marker == _APP14 and segment[4:9] == _ADOBE and len(segment) >= _ADOBE_SIZE:
        return _shortened(segment[:_ADOBE_SIZE])
    return b""


def _shortened(segment: memoryview, end: bytes = b"") -> bytes:
    size = len(segment) + len(end) - 2
    return b"".join((segment[:2], size.to_bytes(2), segment[4:], end))


def _png_parts(data: bytes, _start: Head | None) -> _Parts | None:
    view = memoryview(data)
    parts: list[bytes | memoryview] = [view[: png.FIRST_CHUNK]]
    for name, start, end in png.chunks(data):
        if name == b"IEND":
            return [*parts, _IEND]
        if end > len(data):
            return None
        if name in _PNG_IMAGE:
            parts.append(view[start:end])
        elif not name[0] & _ANCILLARY:
            return None
    return None


_PARTS: Mapping[Format, Callable[[bytes, Head | None], _Parts | None]] = {
    Format.JPEG: _jpeg_parts,
    Format.PNG: _png_parts,
}
