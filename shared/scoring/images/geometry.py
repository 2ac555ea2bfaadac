"""Sizes, crop boxes and blur correction; sizes are (width, height), boxes are (left, top, right, bottom)."""

from shared.scoring.images.header import MAX_ASPECT

type Size = tuple[int, int]
type Box = tuple[float, float, float, float]

# Images are first reduced by an integer factor, which is cheap, to no less than this multiple of the target size, and
# then resized with a filter. With 1.4, a JPEG of 12 megapixels is decoded at an eighth of its size; with 2, only at a
# quarter, in a fifth more time. The blur of an eighth is corrected (:func:`blur`); the largest change of a probability,
# averaged over photographs, is then 0.015 (0.018 uncorrected; a quarter: 0.007). Other formats, which are decoded at
# full size anyway, are averaged to no less than three times the target size.
DRAFT_MARGIN, REDUCE_MARGIN = 1.4, 3
# The strength of the blur correction, relative to the square of the blur's width: a twelfth cancels the first-order
# term, a little more also part of the second-order term, within the limits of a 3x3 kernel. Determined with a dozen
# photographs at short sides of 1600 to 3456 pixels.
_CORRECTION = 0.115


def aspect_crop(size: Size) -> tuple[int, int, int, int]:
    """The part of an image that is used: all of it, or the centre where one side is more than 8 times the other."""
    width, height = size
    left = max(0, (width - MAX_ASPECT * height) // 2)
    top = max(0, (height - MAX_ASPECT * width) // 2)
    return left, top, width - left, height - top


def target(size: Size, short: int, *, enlarge: bool) -> Size:
    """The size with a short side of ``short``; the long side is rounded to nearest, as in the service.

    A smaller image keeps its size unless ``enlarge``.
    """
    scale = short / min(size)
    if scale >= 1 and not enlarge:
        return size
    return round(size[0] * scale), round(size[1] * scale)


def reduction(size: Size, short: int) -> int:
    """The integer factor by which an image may be reduced before it is resized."""
    return max(1, min(size) // (REDUCE_MARGIN * short))


def blur(factor: float, size: Size, target_size: Size) -> float:
    """The width, in pixels of ``target_size``, of the squares averaged when ``size`` is reduced by ``factor``."""
    return factor * min(target_size) / min(size)


def correction(width: float) -> float:
    """The coefficient c of the sharpening kernel ``[-c, 1 + 2 c, -c]`` that cancels an average over ``width`` pixels.

    The frequency response of an average over a width w is sin(pi w f) / (pi w f), about 1 - (pi w f)^2 / 6, for a
    frequency of f cycles per pixel; that of the kernel is 1 + 2 c (1 - cos 2 pi f), about 1 + c (2 pi f)^2.
    """
    return _CORRECTION * width * width / 2


def centre(size: Size, side: int) -> tuple[int, int, int, int]:
    """The central square; an odd remainder is split with the smaller half on the left and at the top."""
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side
