"""Decides whether a file is forwarded unchanged to a service that decodes images itself."""

from shared.scoring.images import jpeg, png
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.header import MAX_ASPECT, check_pixels

_READERS = {Format.JPEG: jpeg.read, Format.PNG: png.read}


def forwardable(data: bytes, max_pixels: int, max_bytes: int) -> bool:
    """Whether the file is a JPEG or PNG that every decoder renders alike, and not longer than ``max_bytes``.

    Takes about ten microseconds, because no pixel is decoded: the image data behind a valid header may be damaged.
    Not forwardable: rotated images, transparency, more than eight bits, CMYK, profiles far from sRGB.

    Raises:
        UnsupportedImage: not a supported format.
        DamagedImage: the header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    read = _READERS.get(format_of(data))
    if read is None:
        return False
    header = read(data)
    check_pixels(header.width, header.height, max_pixels)
    short, long = sorted((header.width, header.height))
    return header.plain and len(data) <= max_bytes and long <= MAX_ASPECT * short
