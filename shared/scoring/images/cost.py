"""Estimates, from the header alone, the memory that decoding an image takes."""

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shared.errors import GatewayError
from shared.scoring.images import jpeg, tiff
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.header import check_pixels

# Bytes of a pixel at the peak, the decoder's own included, as measured (docs/formats.md). The image itself takes four.
# PNG and BMP are decoded in place. libtiff holds a strip, which may be the whole image. libwebp holds two canvases for
# animations, and the decoded frame is copied. AVIF and HEIC are decoded to planes of 8 or 16 bits, and converted.
_BYTES_PER_PIXEL: Mapping[Format, float] = {
    Format.PNG: 6,
    Format.BMP: 6,
    Format.GIF: 4,
    Format.TIFF: 9,
    Format.WEBP: 13.2,
    Format.AVIF: 12.5,
    Format.HEIF: 12.5,
}
# A JPEG is reduced while it is decoded; of a progressive one, all coefficients are stored first.
_JPEG, _PROGRESSIVE_JPEG = 0.5, 6.5

_PNG_SIZE, _GIF_SIZE, _ISPE = struct.Struct(">II"), struct.Struct("<HH"), struct.Struct(">4xII")
_BMP_OS2, _BMP_OS2_SIZE, _BMP_SIZE = 12, struct.Struct("<HH"), struct.Struct("<ii")
# Where the properties of HEIF and AVIF are searched, and how many sizes: a photograph in tiles has some dozens.
_PROPERTIES, _MAX_SIZES = 1_000_000, 1000


class Size(NamedTuple):
    """Pixels, 0 where the header cannot be read: decoding then reports it."""

    width: int
    height: int


def decoding(data: bytes, max_pixels: int) -> int:
    """Bytes that decoding takes at its peak, beside the file's own; 0 if the header does not state the size.

    Raises:
        UnsupportedImage: not a supported format.
        DamagedImage: a JPEG's header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    kind = format_of(data)
    if kind is Format.JPEG:
        width, height, progressive = jpeg.frame(data)
        per_pixel = _PROGRESSIVE_JPEG if progressive else _JPEG
    else:
        width, height = size(data, kind)
        per_pixel = _BYTES_PER_PIXEL[kind]
    check_pixels(width, height, max_pixels)
    return int(width * height * per_pixel)


def size(data: bytes, kind: Format) -> Size:
    """The size of an image that is not a JPEG, as its header states it."""
    try:
        return Size(*map(abs, _READERS[kind](data)))
    except (struct.error, GatewayError, IndexError):
        return Size(0, 0)


def _bmp(data: bytes) -> tuple[int, int]:
    old = int.from_bytes(data[14:18], "little") == _BMP_OS2
    width, height = (_BMP_OS2_SIZE if old else _BMP_SIZE).unpack_from(data, 18)
    return width, height


def _tiff(data: bytes) -> tuple[int, int]:
    found = tiff.tags(data)
    return found.get(tiff.WIDTH, 0), found.get(tiff.LENGTH, 0)


def webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height (RFC 9649, sections 2.5 to 2.7): opening already allocates memory for two frames."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def _heif(data: bytes) -> tuple[int, int]:
    """The largest of the sizes (``ispe``, ISO/IEC 23008-12, section 6.5.3): the image's, not those of its tiles."""
    largest, at = (0, 0), -1
    for _ in range(_MAX_SIZES):
        at = data.find(b"ispe", at + 1, _PROPERTIES)
        if at < 0 or at + 16 > len(data):
            break
        width, height = _ISPE.unpack_from(data, at + 4)
        largest = max(largest, (width, height), key=lambda one: one[0] * one[1])
    return largest


_READERS: Mapping[Format, Callable[[bytes], tuple[int, int]]] = {
    Format.PNG: lambda data: _PNG_SIZE.unpack_from(data, 16),
    Format.GIF: lambda data: _GIF_SIZE.unpack_from(data, 6),
    Format.BMP: _bmp,
    Format.TIFF: _tiff,
    Format.WEBP: webp_canvas,
    Format.AVIF: _heif,
    Format.HEIF: _heif,
}
