"""Decodes an image to a small upright RGB image, in as little memory as its format allows.

Memory in addition to the file's bytes, for 12 megapixels: a baseline JPEG about 5 MB, because its decoder reduces it
while decoding; a progressive one 36 to 72 MB, because all of its coefficients are stored first, although those that are
not needed are not decoded (:mod:`shared.scoring.images.scans`); other formats four bytes per pixel for the decoded
image, plus the decoder's own memory.
"""

import io

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
# Orientations that exchange left and right, or top and bottom.
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})
_BAND_ROWS = 64
_INCOMPLETE = "The image data could not be decoded completely."
# The level of coefficients that are all zero; of inks, which are inverted, the second.
_GREY = (128, 127)
# The largest factor by which a JPEG is reduced while it is decoded: a block becomes a pixel.
_LARGEST_DRAFT = 8
# The blur of squares narrower than half a pixel is too small to be corrected.
_NARROW = 0.5


def decode_small(data: bytes, short: int, max_pixels: int, *, enlarge: bool, side: int | None = None) -> Image.Image:
    """Decode an image to upright RGB with a short side of ``short`` pixels; very long images are cropped.

    A smaller one keeps its size unless ``enlarge``. With ``side``, only the central square of that size is returned.

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
        scale = _draft(encoded, short)
        if scale == _LARGEST_DRAFT and encoded.info.get("progressive") and isinstance(encoded, ImageFile.ImageFile):
            encoded.fp = io.BytesIO(scans.without_detail(data))
        image = loaded(encoded, kind)
        if lacks_end and _ends_grey(image):
            raise DamagedImage(_INCOMPLETE)
        if scale == 1:
            size = image.size  # for some formats, the true size and rotation are known only after decoding
        exif_orientation = orientation(image, kind)
        drafted = scale > 1
        rgb, scale = _flattened(image, scale, short)
    used = geometry.aspect_crop(size)
    target = geometry.target((used[2] - used[0], used[3] - used[1]), short, enlarge=enlarge)
    width = geometry.blur(scale, size, target) if drafted else 0.0
    part = (0, 0, *target) if side is None else _stored_centre(target, side, exif_orientation)
    return _oriented(_part(rgb, used, scale, target, part, width), exif_orientation)


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


def _stored_centre(size: geometry.Size, side: int, exif_orientation: int) -> tuple[int, int, int, int]:
    """The box, in stored pixels, that is the central square once the orientation is applied.

    An odd remainder is split with the smaller half on the left and at the top of the upright image.
    """
    left, top, right, bottom = geometry.centre(size, side)
    if exif_orientation in _MIRRORED_ACROSS:
        left, right = size[0] - right, size[0] - left
    if exif_orientation in _MIRRORED_DOWN:
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom


def _part(
    image: Image.Image,
    used: geometry.Box,
    scale: int,
    target: geometry.Size,
    part: tuple[int, int, int, int],
    width: float,
) -> Image.Image:
    """A part of what ``used`` becomes in the size ``target``, sharpened; columns beside it are not resized.

    ``used`` is in the pixels of the image before it was reduced by ``scale``. All rows are resized: with fewer of them
    Pillow would take the two directions in the other order, which rounds differently.
    """
    # With the adjacent pixels, on which the sharpened ones depend.
    left, right = max(0, part[0] - 1), min(target[0], part[2] + 1)
    across, x = (used[2] - used[0]) / scale / target[0], used[0] / scale
    box = (x + left * across, used[1] / scale, min(x + right * across, used[2] / scale), used[3] / scale)
    columns = image.resize((right - left, target[1]), Image.Resampling.BICUBIC, box)
    top, bottom = max(0, part[1] - 1), min(target[1], part[3] + 1)
    sharpened = _sharpened(columns.crop((0, top, columns.width, bottom)), width)
    return sharpened.crop((part[0] - left, part[1] - top, part[2] - left, part[3] - top))


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
