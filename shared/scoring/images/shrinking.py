"""Decodes a picture and makes it small, upright and RGB, in as little memory as its format allows.

What it costs beside the file's bytes, for 12 megapixels: a baseline JPEG some 5 MB, since its decoder shrinks it while
decoding; a progressive one 36 to 72 MB, since its coefficients must all be there first, though those that are not
needed are not decoded (:mod:`shared.scoring.images.scans`); other formats four bytes a
pixel for the decoded picture, and what their decoder needs.
"""

import io

from PIL import Image, ImageFile, ImageFilter

from shared.scoring.images import geometry, scans
from shared.scoring.images.colours import Colours
from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.opening import blaming, opened, orientation

_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where turning a stored picture upright exchanges left and right, or above and below.
_MIRRORED_ACROSS, _MIRRORED_DOWN = frozenset({2, 3, 7, 8}), frozenset({3, 4, 6, 7})
_BAND_ROWS = 64
# The most that a JPEG is shrunk by while it is decoded: a block becomes a pixel.
_COARSEST = 8
# A decoder's shrinking to squares narrower than half a pixel blurs too little to be corrected.
_NARROW = 0.5


def small_picture(data: bytes, short: int, max_pixels: int, *, enlarge: bool, side: int | None = None) -> Image.Image:
    """The whole picture (of a very long one its centre), RGB, upright, its short side ``short`` pixels.

    A smaller one keeps its size unless ``enlarge``. With ``side`` only the square in its middle is returned.

    Raises:
        UnsupportedImage: not a picture that is read here.
        DamagedImage: it cannot be decoded.
        ImageTooLarge: more than ``max_pixels``.
    """
    kind = format_of(data)
    with opened(data, kind, max_pixels) as image, blaming("The picture could not be decoded to its end."):
        size = image.size
        scale = _draft(image, short)
        if scale == _COARSEST and image.info.get("progressive") and isinstance(image, ImageFile.ImageFile):
            image.fp = io.BytesIO(scans.without_detail(data))
        image.load()
        if scale == 1:
            size = image.size  # some formats tell their true size, or turn, only now
        lies = orientation(image, kind)
        drafted = scale > 1
        rgb, scale = _flattened(image, scale, short)
    small = _resized(rgb, size, scale, short, enlarge=enlarge)
    width = geometry.blur(scale, size, small.size) if drafted else 0.0
    if side is None:
        return _turned(_sharpened(small, width), lies)
    return _turned(_part(small, _centre_as_stored(small.size, side, lies), width), lies)


def _draft(image: Image.Image, short: int) -> int:
    """Have a JPEG decoded at a half, a quarter or an eighth of its size, where that is still enough."""
    if image.format != Format.JPEG:
        return 1
    least = round(geometry.DRAFT_MARGIN * short)
    width = image.width
    drafted = image.draft(None, (least, least))
    return 1 if drafted is None else round(width / drafted[1][2])


def _flattened(image: Image.Image, scale: int, short: int) -> tuple[Image.Image, int]:
    """The picture as RGB, shrunk by a whole number where it is large; and by how much it is shrunk in all."""
    colours = Colours(image)
    factor = geometry.reduction(image.size, short) if scale == 1 else 1
    rgb = colours.flatten(image) if factor == 1 else _reduced(image, colours, factor)
    return colours.finish(rgb), scale * factor


def _reduced(image: Image.Image, colours: Colours, factor: int) -> Image.Image:
    """Shrink by averaging squares, in bands, so that no conversion needs room for a second large picture."""
    width, height = image.size
    out = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = factor * _BAND_ROWS
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows)))
        out.paste(colours.flatten(band).reduce(factor), (0, top // factor))
    return out


def _resized(image: Image.Image, size: geometry.Size, scale: int, short: int, *, enlarge: bool) -> Image.Image:
    """Resize what stands for a picture of ``size``; the box says where its edges lie among the shrunk pixels."""
    left, top, right, bottom = geometry.kept(size)
    wanted = geometry.target((right - left, bottom - top), short, enlarge=enlarge)
    box = (left / scale, top / scale, right / scale, bottom / scale)
    return image.resize(wanted, Image.Resampling.BICUBIC, box)


def _centre_as_stored(size: geometry.Size, side: int, lies: int) -> tuple[int, int, int, int]:
    """The square that is in the middle once a picture of ``size`` is turned.

    Of an odd rest, the smaller half lies left and above of what people see.
    """
    left, top, right, bottom = geometry.centre(size, side)
    if lies in _MIRRORED_ACROSS:
        left, right = size[0] - right, size[0] - left
    if lies in _MIRRORED_DOWN:
        top, bottom = size[1] - bottom, size[1] - top
    return left, top, right, bottom


def _part(image: Image.Image, box: tuple[int, int, int, int], width: float) -> Image.Image:
    """A part of the sharpened picture, without sharpening the rest: but for its neighbours, which pixels depend on."""
    left, top, right, bottom = box
    more = max(0, left - 1), max(0, top - 1), min(image.width, right + 1), min(image.height, bottom + 1)
    near = _sharpened(image.crop(more), width)
    return near.crop((left - more[0], top - more[1], right - more[0], bottom - more[1]))


def _sharpened(image: Image.Image, width: float) -> Image.Image:
    """Undo what averaging over squares, ``width`` pixels wide, has blurred; see :func:`geometry.correction`."""
    if width <= _NARROW:
        return image
    c = geometry.correction(width)
    line = (-c, 1 + 2 * c, -c)
    return image.filter(ImageFilter.Kernel((3, 3), [down * across for down in line for across in line], scale=1))


def _turned(image: Image.Image, lies: int) -> Image.Image:
    how = _TRANSPOSED.get(lies)
    return image if how is None else image.transpose(how)
