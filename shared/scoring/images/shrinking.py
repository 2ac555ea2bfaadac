"""Decodes an image to a small upright RGB image, in as little memory as its format allows.

Memory in addition to the file's bytes, for 12 megapixels: a baseline JPEG about 5 MB, because its decoder reduces it
while decoding; a progressive one 36 to 72 MB, because all of its coefficients are stored first, although those that are
not needed are not decoded (:mod:`shared.scoring.images.scans`); other formats four bytes per pixel for the decoded
image, plus the decoder's own memory.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageFilter

from shared.errors import DamagedImage
from shared.scoring.images import geometry, jpeg, scans
from shared.scoring.images.colours import Colours
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.opening import decoder_errors, loaded, opened, orientation

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Orientations that exchange width and height; left and right, or top and bottom, of the stored image.
_SIDEWAYS = frozenset({5, 6, 7, 8})
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})
_BAND_ROWS = 64
_INCOMPLETE = "The image data could not be decoded completely."
# The level of coefficients that are all zero; of inks, which are inverted, the second.
_GREY = (128, 127)
# The largest factor by which a JPEG is reduced while it is decoded: a block becomes a pixel.
_LARGEST_DRAFT = 8
# The blur of squares narrower than half a pixel is too small to be corrected.
_NARROW = 0.5


class Decoded(NamedTuple):
    """A small upright image, and where the picture that it was made of is in it."""

    image: Image.Image
    placement: geometry.Placement


def decode_small(
    data: bytes, plan_of: Callable[[geometry.Size], geometry.Plan], max_pixels: int, *, padding: int = 0
) -> Decoded:
    """Decode an image to upright RGB, as the plan for its size says; bars are of the grey ``padding``.

    Raises:
        UnsupportedImage: not a supported image.
        DamagedImage: it cannot be decoded.
        ImageTooLarge: more than ``max_pixels``.
    """
    kind = format_of(data)
    lacks_end = kind is Format.JPEG and jpeg.lacks_end(data)
    if lacks_end:
        data += jpeg.END
    with opened(data, kind, max_pixels) as encoded, decoder_errors(_INCOMPLETE):
        size = encoded.size
        # The shorter side is the same whether the image is turned or not.
        scale = _draft(encoded, min(plan_of(size).target))
        if scale == _LARGEST_DRAFT and encoded.info.get("progressive") and isinstance(encoded, ImageFile.ImageFile):
            encoded.fp = io.BytesIO(scans.without_detail(data))
        image = loaded(encoded, kind)
        if lacks_end and _ends_grey(image):
            raise DamagedImage(_INCOMPLETE)
        if scale == 1:
            size = image.size  # for some formats, the true size and rotation are known only after decoding
        exif_orientation = orientation(image, kind)
        upright = _turned(size, exif_orientation)
        plan = plan_of(upright)
        drafted = scale > 1
        rgb, scale = _flattened(image, scale, min(plan.target))
    width = geometry.blur(scale, plan) if drafted else 0.0
    part = _shown(rgb, plan, scale, exif_orientation, width)
    image = _on_bars(_oriented(part, exif_orientation), plan, padding)
    return Decoded(image, geometry.placement(upright, exif_orientation, plan))


def _draft(image: Image.Image, short: int) -> int:
    """Configure a JPEG's decoder to reduce it to a half, a quarter or an eighth, if it stays large enough.

    Returns:
        The factor, 1 where nothing is reduced.
    """
    if image.format != Format.JPEG:
        return 1
    smallest = round(geometry.DRAFT_MARGIN * short)
    width = image.width
    drafted = image.draft(None, (smallest, smallest))
    return 1 if drafted is None else round(width / drafted[1][2])


def _ends_grey(image: Image.Image) -> bool:
    """Whether the last block of a JPEG is the grey that its decoder writes where there is no more data."""
    width, height = image.size
    block = np.asarray(image.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height)))
    return bool(np.isin(block, _GREY).all())


def _flattened(image: Image.Image, scale: int, short: int) -> tuple[Image.Image, int]:
    """The image as RGB, reduced by an integer factor if it is large; and the total factor of its reduction."""
    colours = Colours(image)
    factor = geometry.reduction(image.size, short) if scale == 1 else 1
    rgb = colours.flatten(image) if factor == 1 else _reduced(image, colours, factor)
    return colours.finish(rgb), scale * factor


def _reduced(image: Image.Image, colours: Colours, factor: int) -> Image.Image:
    """Reduce by averaging squares, in bands, so that no conversion allocates a second large image."""
    width, height = image.size
    out = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = factor * _BAND_ROWS
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows)))
        out.paste(colours.flatten(band).reduce(factor), (0, top // factor))
    return out


def _stored(plan: geometry.Plan, exif_orientation: int) -> geometry.Box:
    """The part of the stored image that is shown once the orientation is applied."""
    (width, height), (left, top, right, bottom) = plan.target, plan.window
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if exif_orientation in _SIDEWAYS:
        (width, height), (left, top, right, bottom) = (height, width), (top, left, bottom, right)
    if exif_orientation in _MIRRORED_ACROSS:
        left, right = width - right, width - left
    if exif_orientation in _MIRRORED_DOWN:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _on_bars(image: Image.Image, plan: geometry.Plan, padding: int) -> Image.Image:
    if image.size == plan.size:
        return image
    square = Image.new("RGB", plan.size, (padding,) * 3)
    square.paste(image, (max(0, -plan.window[0]), max(0, -plan.window[1])))
    return square


def _shown(image: Image.Image, plan: geometry.Plan, scale: int, exif_orientation: int, width: float) -> Image.Image:
    """The part of the resized and sharpened image that is shown; columns beside it are not resized.

    ``image`` is stored, and was reduced by ``scale``. All rows are resized: with fewer of them Pillow would take the
    two directions in the other order, which rounds differently.
    """
    # The box is symmetric, so that it is the same however the image is mirrored.
    box = plan.box
    if exif_orientation in _SIDEWAYS:
        box = (box[1], box[0], box[3], box[2])
    x, y, x_end, y_end = (edge / scale for edge in box)
    size = _turned(plan.target, exif_orientation)
    left, top, right, bottom = _stored(plan, exif_orientation)
    # With the adjacent pixels, on which the sharpened ones depend.
    first, last = max(0, left - 1), min(size[0], right + 1)
    across = (x_end - x) / size[0]
    columns = image.resize(
        (last - first, size[1]),
        Image.Resampling.BICUBIC,
        (x + first * across, y, min(x + last * across, x_end), y_end),
    )
    above, below = max(0, top - 1), min(size[1], bottom + 1)
    sharpened = _sharpened(columns.crop((0, above, columns.width, below)), width)
    return sharpened.crop((left - first, top - above, right - first, bottom - above))


def _turned(size: geometry.Size, exif_orientation: int) -> geometry.Size:
    return size[::-1] if exif_orientation in _SIDEWAYS else size


def _sharpened(image: Image.Image, width: float) -> Image.Image:
    """Correct the blur of averaging over squares of ``width`` pixels; see :func:`geometry.correction`."""
    if width <= _NARROW:
        return image
    c = geometry.correction(width)
    line = (-c, 1 + 2 * c, -c)
    return image.filter(ImageFilter.Kernel((3, 3), [down * across for down in line for across in line], scale=1))


def _oriented(image: Image.Image, exif_orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(exif_orientation)
    return image if transposition is None else image.transpose(transposition)
