"""What a file's header says of its picture, read without decoding it."""

from typing import NamedTuple

from shared.errors import ImageTooLarge

# A picture longer than this is cut to its centre before anything is made of it: models look at the centre alone, and a
# strip of one pixel by 65,535 would be blown up to gigabytes where its short side is resized to hundreds.
MAX_ASPECT = 8


class Header(NamedTuple):
    """Size in pixels as stored; ``plain``: any decoder of JPEG and PNG shows it right, upright and in its colours."""

    width: int
    height: int
    plain: bool


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse too large a picture.

    Raises:
        ImageTooLarge: more than ``max_pixels``.
    """
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; {max_pixels} are allowed.", limit=max_pixels, unit="pixels"
        )
