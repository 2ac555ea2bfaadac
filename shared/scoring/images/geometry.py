"""Where the pixels go. Pure arithmetic; sizes are (width, height), boxes are (left, top, right, bottom)."""

from shared.scoring.images.header import MAX_ASPECT

type Size = tuple[int, int]
type Box = tuple[float, float, float, float]

# Pictures are first shrunk by a whole number, which is cheap, to no less than so many times the size that is wanted,
# and then resized with a filter. 1.4 lets a JPEG of 12 megapixels be decoded at an eighth of its size, twice only at a
# quarter, in a fifth more time; what an eighth blurs is corrected (:func:`blur`), and then moves a photograph's
# probabilities by 0.015 in the mean of the farthest ones (0.018 uncorrected; a quarter: 0.007). Other formats, which
# are decoded whole anyway, are averaged to no less than three times the size.
DRAFT_MARGIN, REDUCE_MARGIN = 1.4, 3
# How much of a blur is corrected, by the square of its width: a twelfth undoes its first order, a little more its
# second one too, as far as three pixels can. Found with a dozen photographs at short sides of 1600 to 3456 pixels.
_CORRECTION = 0.115


def kept(size: Size) -> tuple[int, int, int, int]:
    """The part of a picture that is used: all of it, or the centre of a very long one."""
    width, height = size
    left = max(0, (width - MAX_ASPECT * height) // 2)
    top = max(0, (height - MAX_ASPECT * width) // 2)
    return left, top, width - left, height - top


def target(size: Size, short: int, *, enlarge: bool) -> Size:
    """The size with a short side of ``short``, the long one rounded to nearest, as the service itself rounds it.

    A smaller picture keeps its size unless ``enlarge``.
    """
    scale = short / min(size)
    if scale >= 1 and not enlarge:
        return size
    return round(size[0] * scale), round(size[1] * scale)


def reduction(size: Size, short: int) -> int:
    """The whole number by which a picture may be shrunk beforehand."""
    return max(1, min(size) // (REDUCE_MARGIN * short))


def blur(shrunk: float, size: Size, wanted: Size) -> float:
    """How wide, in pixels of ``wanted``, the squares are that were averaged when ``size`` was first shrunk."""
    return shrunk * min(wanted) / min(size)


def correction(width: float) -> float:
    """What each neighbour is to lose of a pixel, and it to gain twice, to undo the averaging over ``width`` pixels.

    An average over a width w passes a frequency f (in cycles a pixel) by sin(pi w f) / (pi w f), about
    1 - (pi w f)^2 / 6, while ``[-c, 1 + 2 c, -c]`` passes it by 1 + 2 c (1 - cos 2 pi f), about 1 + c (2 pi f)^2.
    """
    return _CORRECTION * width * width / 2


def centre(size: Size, side: int) -> tuple[int, int, int, int]:
    """The square in the middle; of an odd rest, the smaller half lies left and above."""
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side
