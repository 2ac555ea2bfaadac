"""Sizes, crop boxes and blur correction; sizes are (width, height), boxes are (left, top, right, bottom)."""

from typing import NamedTuple

from shared.scoring.images.header import MAX_ASPECT
from shared.settings import Fit, Preprocessing

type Size = tuple[int, int]
type Box = tuple[int, int, int, int]

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


class Plan(NamedTuple):
    """What is made of a picture: its part ``box`` is resized to ``target``, and of that the part ``window`` is shown.

    A window that exceeds the target has bars there.
    """

    box: Box
    target: Size
    window: Box

    @property
    def size(self) -> Size:
        """The size of the result."""
        return _size(self.window)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the target for one of the picture, across and down."""
        (width, height), (across, down) = _size(self.box), self.target
        return across / width, down / height


class Placement(NamedTuple):
    """Where a picture is in a model's input: ``x * scale_x + pad_left``, ``y * scale_y + pad_top``.

    Coordinates are in pixels from the left and upper edge. Those of the picture, of ``width`` by ``height``, are of the
    upright one, to which the EXIF ``orientation`` was applied. What was cut off is negative padding.
    """

    width: int
    height: int
    orientation: int
    input_width: int
    input_height: int
    scale_x: float
    scale_y: float
    pad_left: float
    pad_top: float


def placement(size: Size, orientation: int, plan: Plan) -> Placement:
    """Where a picture of an upright size is in what a plan makes of it."""
    across, down = plan.scale
    left, top = plan.box[0] * across + plan.window[0], plan.box[1] * down + plan.window[1]
    return Placement(*size, orientation, *plan.size, across, down, 0.0 - left, 0.0 - top)


def unchanged(size: Size) -> Placement:
    """The placement of an upright picture that is the input itself."""
    return Placement(*size, 1, *size, 1.0, 1.0, 0.0, 0.0)


def for_tensor(size: Size, how: Preprocessing) -> Plan:
    """The plan for a tensor's picture, a square."""
    if how.fit is Fit.CROP:
        box = aspect_crop(size)
        resized = target(_size(box), how.resize, enlarge=True)
        return Plan(box, resized, centre(resized, how.size))
    resized = (how.size, how.size)
    if how.fit is Fit.LETTERBOX:
        scale = how.size / max(size)
        resized = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return Plan((0, 0, *size), resized, centre(resized, how.size))


def for_file(size: Size, how: Preprocessing) -> Plan:
    """The plan for a file whose shorter side is that of the settings, or its own where that is smaller."""
    box = aspect_crop(size)
    resized = target(_size(box), how.resize, enlarge=False)
    return Plan(box, resized, (0, 0, *resized))


def _size(box: Box) -> Size:
    return box[2] - box[0], box[3] - box[1]


def aspect_crop(size: Size) -> Box:
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


def blur(factor: float, plan: Plan) -> float:
    """The width, in pixels of the target, of the squares averaged when a picture is reduced by ``factor``.

    Where a picture is stretched, that of the axis which is reduced more.
    """
    return factor * min(plan.scale)


def correction(width: float) -> float:
    """The coefficient c of the sharpening kernel ``[-c, 1 + 2 c, -c]`` that cancels an average over ``width`` pixels.

    The frequency response of an average over a width w is sin(pi w f) / (pi w f), about 1 - (pi w f)^2 / 6, for a
    frequency of f cycles per pixel; that of the kernel is 1 + 2 c (1 - cos 2 pi f), about 1 + c (2 pi f)^2.
    """
    return _CORRECTION * width * width / 2


def centre(size: Size, side: int) -> Box:
    """The central square; an odd remainder is split with the smaller half on the left and at the top.

    It exceeds what is smaller, in the same way.
    """
    left, top = int((size[0] - side) / 2), int((size[1] - side) / 2)
    return left, top, left + side, top + side
