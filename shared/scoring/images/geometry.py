"""Where the pixels go. Pure arithmetic; sizes are (width, height), boxes are (left, top, right, bottom)."""

from shared.scoring.images.header import MAX_ASPECT

type Size = tuple[int, int]
type Box = tuple[float, float, float, float]

# Pictures are first shrunk by a whole number, which is cheap, to no less than so many times the size that is wanted,
# and then resized with a filter. Twice is enough for JPEG, whose decoder shrinks by leaving out fine frequencies;
# averaging needs three times to stay within 0.01 of the same probabilities.
DRAFT_MARGIN, REDUCE_MARGIN = 2, 3


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


def centre(size: Size, side: int) -> tuple[int, int, int, int]:
    """The square in the middle; of an odd rest, the smaller half lies left and above."""
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return left, top, left + side, top + side
