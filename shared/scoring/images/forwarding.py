"""Decides whether a file is forwarded to a service that decodes images itself, and what of it."""

from shared.scoring.images import jpeg, png
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.header import MAX_ASPECT, check_pixels
from shared.scoring.images.metadata import without_metadata

_READERS = {Format.JPEG: jpeg.read, Format.PNG: png.read}


def forwardable(data: bytes, max_pixels: int, max_bytes: int, *, keep_metadata: bool = False) -> bytes | None:
    """A JPEG or PNG file that every decoder renders alike, of up to ``max_bytes``; None where the file is not one.

    Its metadata is removed, unless ``keep_metadata``. Takes some tens of microseconds, because no pixel is decoded: the
    image data behind a valid header may be damaged. Not forwardable: rotated images, transparency, more than eight
    bits, CMYK, profiles far from sRGB, and files whose metadata cannot be removed because their structure is irregular.

    Raises:
        UnsupportedImage: not a supported format.
        DamagedImage: the header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    kind = format_of(data)
    read = _READERS.get(kind)
    if read is None:
        return None
    header = read(data)
    check_pixels(header.width, header.height, max_pixels)
    width, height = header.width, header.height
    if not header.plain or width > MAX_ASPECT * height or height > MAX_ASPECT * width:
        return None
    if keep_metadata:
        return data if len(data) <= max_bytes else None
    return without_metadata(data, kind, max_bytes, header.head)


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a file that is forwardable."""
    header = _READERS[format_of(data)](data)
    return header.width, header.height
