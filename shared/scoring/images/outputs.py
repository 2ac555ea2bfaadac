"""What the services take: a float tensor, or a file that any of them decodes."""

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import ImageTooLarge
from shared.scoring.images.shrinking import small_picture
from shared.settings import ChannelOrder, Preprocessing

type Floats = npt.NDArray[np.float32]

# The fastest of PNG's levels: a tenth larger, in a third of the time.
_PNG = {"compress_level": 1}
_JPEG = {"quality": 95, "subsampling": 0}


def to_tensor(data: bytes, how: Preprocessing, max_pixels: int) -> Floats:
    """Decode an image file, turn it upright, resize, crop and normalise it: what the service itself would do.

    Returns:
        ``[size, size, 3]``, float32, C-contiguous.

    Raises:
        UnsupportedImage: not a picture that is read here.
        DamagedImage: the picture cannot be decoded.
        ImageTooLarge: more than ``max_pixels``.
    """
    return normalise(small_picture(data, how.resize, max_pixels, enlarge=True, side=how.size), how)


def to_file(data: bytes, how: Preprocessing, max_pixels: int, max_bytes: int) -> bytes:
    """Make an ordinary file of any picture: upright RGB, already of the size to which the service resizes it.

    PNG, which loses nothing: the service's own resize then changes no pixel, and the scores are those of the tensor.

    Raises:
        UnsupportedImage: not a picture that is read here.
        DamagedImage: the picture cannot be decoded.
        ImageTooLarge: more than ``max_pixels``; or the result has more than ``max_bytes``, even as a JPEG.
    """
    image = small_picture(data, how.resize, max_pixels, enlarge=False)
    for kind, options in (("PNG", _PNG), ("JPEG", _JPEG)):
        out = io.BytesIO()
        image.save(out, kind, **options)
        if out.tell() <= max_bytes:
            return out.getvalue()
    raise ImageTooLarge(
        f"The image takes {out.tell()} bytes even when shrunk; the service takes {max_bytes}.",
        limit=max_bytes,
        unit="bytes",
    )


def normalise(image: Image.Image, how: Preprocessing) -> Floats:
    """``(value - mean) / scale`` of an RGB picture, as ``[height, width, 3]`` float32 in the order of ``how``."""
    pixels = np.asarray(image)
    if how.order is ChannelOrder.BGR:
        pixels = pixels[..., ::-1]
    height, width, channels = pixels.shape
    mean, scale = _rows(how, width)
    # Row by row, since numpy is twenty times slower with three numbers at a time.
    out = pixels.reshape(height, width * channels).astype(np.float32)
    out -= mean
    out /= scale
    return out.reshape(height, width, channels)


@lru_cache(maxsize=64)
def _rows(how: Preprocessing, width: int) -> tuple[Floats, Floats]:
    """Mean and scale for a whole row of pixels."""
    step = -1 if how.order is ChannelOrder.BGR else 1
    mean, scale = (np.tile(np.array(values[::step], np.float32), width) for values in (how.mean, how.scale))
    return mean, scale
