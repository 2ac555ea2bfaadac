"""The inputs of the services: a float tensor, or an image file that each of them can decode."""

import io
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import ImageTooLarge
from shared.scoring.images import geometry
from shared.scoring.images.shrinking import Decoded, decode_small
from shared.settings import ChannelOrder, Datatype, Layout, Preprocessing

type Floats = npt.NDArray[np.float32]

# PNG's fastest compression level: the file is a tenth larger, and takes a third of the time.
_PNG = {"compress_level": 1}
_JPEG = {"quality": 95, "subsampling": 0}


def to_tensor(data: bytes, how: Preprocessing, max_pixels: int) -> Floats:
    """Decode an image file, apply its orientation, resize, crop and normalise it, as the service itself would.

    Returns:
        ``[size, size, 3]``, float32, C-contiguous.

    Raises:
        UnsupportedImage: not a supported image.
        DamagedImage: the image cannot be decoded.
        ImageTooLarge: more than ``max_pixels``.
    """
    return normalise(_square(data, how, max_pixels).image, how)


def to_pixels(
    data: bytes, how: Preprocessing, max_pixels: int, *, datatype: Datatype, layout: Layout
) -> tuple[npt.NDArray[np.generic], geometry.Placement]:
    """As :func:`to_tensor`, in a model's datatype and layout: little-endian, C-contiguous, without the dimension N.

    Pixels of UINT8 stay as they are, without mean and scale.
    """
    image, placement = _square(data, how, max_pixels)
    if datatype is Datatype.UINT8:
        pixels: npt.NDArray[np.generic] = np.asarray(image)
        if how.order is ChannelOrder.BGR:
            pixels = pixels[..., ::-1]
    else:
        pixels = normalise(image, how).astype("<f2" if datatype is Datatype.FP16 else "<f4", copy=False)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if layout is Layout.NCHW else pixels), placement


def _square(data: bytes, how: Preprocessing, max_pixels: int) -> Decoded:
    return decode_small(data, partial(geometry.for_tensor, how=how), max_pixels, padding=how.padding)


def to_file(data: bytes, how: Preprocessing, max_pixels: int, max_bytes: int) -> bytes:
    """As :func:`to_placed_file`, without the placement."""
    return to_placed_file(data, how, max_pixels, max_bytes)[0]


def to_placed_file(
    data: bytes, how: Preprocessing, max_pixels: int, max_bytes: int
) -> tuple[bytes, geometry.Placement]:
    """Convert any image to a plain file: upright RGB, already in the size to which the service resizes it.

    The file is a PNG, which is lossless: the service's own resize then changes no pixel, and the scores are those of
    the tensor, of which hardly a value is rounded differently. If that is larger than ``max_bytes``, it is a JPEG.

    Raises:
        UnsupportedImage: not a supported image.
        DamagedImage: the image cannot be decoded.
        ImageTooLarge: more than ``max_pixels``; or the JPEG, too, has more than ``max_bytes``.
    """
    image, placement = decode_small(data, partial(geometry.for_file, how=how), max_pixels)
    image.info.clear()  # Pillow would write the original's comment into a JPEG
    for kind, options in (("PNG", _PNG), ("JPEG", _JPEG)):
        out = io.BytesIO()
        image.save(out, kind, **options)
        if out.tell() <= max_bytes:
            return out.getvalue(), placement
    raise ImageTooLarge(
        f"The resized image has {out.tell()} bytes; the service accepts {max_bytes}.",
        limit=max_bytes,
        unit="bytes",
    )


def normalise(image: Image.Image, how: Preprocessing) -> Floats:
    """``(value - mean) / scale`` of an RGB image, as ``[height, width, 3]`` float32 in the channel order of ``how``."""
    pixels = np.asarray(image)
    if how.order is ChannelOrder.BGR:
        pixels = pixels[..., ::-1]
    height, width, channels = pixels.shape
    mean, scale = _rows(how, width)
    # Whole rows, because numpy is twenty times slower when it broadcasts over three channels.
    out = pixels.reshape(height, width * channels).astype(np.float32)
    out -= mean
    out /= scale
    return out.reshape(height, width, channels)


@lru_cache(maxsize=64)
def _rows(how: Preprocessing, width: int) -> tuple[Floats, Floats]:
    """Mean and scale repeated for a row of ``width`` pixels, float32 of ``[3 * width]``."""
    step = -1 if how.order is ChannelOrder.BGR else 1
    mean, scale = (np.tile(np.array(values[::step], np.float32), width) for values in (how.mean, how.scale))
    return mean, scale
