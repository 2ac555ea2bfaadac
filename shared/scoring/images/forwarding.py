"""Whether a service that decodes for itself can have the file as it came."""

from shared.scoring.images import jpeg, png
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.header import MAX_ASPECT, check_pixels

_READERS = {Format.JPEG: jpeg.read, Format.PNG: png.read}


def forwardable(data: bytes, max_pixels: int, max_bytes: int) -> bool:
    """Whether the file is a JPEG or PNG that shows the same in every decoder, and not longer than ``max_bytes``.

    Takes some ten microseconds, since no pixel is decoded: the picture may still be broken behind a sound header.
    Not so: what lies on its side, has transparency, more than eight bits, CMYK, or a profile far from sRGB.

    Raises:
        UnsupportedImage: not a format that is read here.
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
