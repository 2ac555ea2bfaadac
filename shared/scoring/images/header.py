"""The result of reading a file's header without decoding its pixels."""

from typing import NamedTuple

from shared.errors import ImageTooLarge
from shared.scoring.images.segments import Head

# An image with a larger ratio of its sides is cropped to its centre first: models use only the centre, and resizing the
# short side of a strip of 1 x 65,535 pixels to hundreds of pixels would take gigabytes.
MAX_ASPECT = 8


class Header(NamedTuple):
    """Stored size in pixels; ``plain``: every JPEG or PNG decoder renders the image upright and in its true colours.

    ``head`` is what precedes the image data of a JPEG file.
    """

    width: int
    height: int
    plain: bool
    head: Head | None = None


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Reject an image that is too large.

    Raises:
        ImageTooLarge: more than ``max_pixels``.
    """
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; {max_pixels} are allowed.", limit=max_pixels, unit="pixels"
        )
