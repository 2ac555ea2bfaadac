"""From an image file to the model's input: decoded, resized, cropped and scaled as the weights were trained."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from devstack.model.graph import SIDE

FORMATS = ("JPEG", "PNG")
MAX_PIXELS = 50_000_000  # a small file can unpack to gigabytes; this is four times a phone's photograph

_SHORT_SIDE = 256


class ImageError(ValueError):
    """An image cannot be decoded; the message says why, in one line."""


def decode_all(files: Sequence[bytes], start: int = 0) -> NDArray[np.float32]:
    """Decode JPEG or PNG files into float32 [N, 224, 224, 3]. ``start`` counts the first, for the error.

    Raises:
        ImageError: one of them is no such image; the message gives its index.
    """
    batch = np.empty((len(files), SIDE, SIDE, 3), np.float32)
    for index, file in enumerate(files):
        try:
            batch[index] = decode(file)
        except ImageError as error:
            raise ImageError(f"images[{start + index}] {error}") from None
    return batch


def decode(file: bytes) -> NDArray[np.float32]:
    """Decode one JPEG or PNG file into float32 [224, 224, 3]: RGB, ``(value - 127) / 128``.

    The short side is resized to 256 (bicubic) and the centre is cut out. Orientation tags are not followed: whoever
    sends a photograph from a phone turns it upright first.

    Raises:
        ImageError: the file is not such an image, is damaged, or is too large.
    """
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as image:
            _check_size(image)
            pixels = np.asarray(_crop(_rgb(image)), np.float32)
    except ImageError:
        raise
    except Exception as error:  # the decoders raise OSError, SyntaxError, struct.error and others
        raise ImageError(f"cannot be decoded as JPEG or PNG: {_reason(error)}") from None
    return (pixels - np.float32(127)) / np.float32(128)


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS} in all")


def _rgb(image: Image.Image) -> Image.Image:
    """Three channels of eight bits; transparency is dropped, as TensorFlow's decoder drops it."""
    if image.mode.startswith("I;16"):  # Pillow would clip where the upper eight bits are meant
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:  # a palette with transparent entries; Pillow warns when it is not told so
        image = image.convert("RGBA")
    return image.convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    scale = _SHORT_SIDE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + SIDE, top + SIDE))


def _reason(error: Exception) -> str:
    """Pillow's words, but for an unknown format: there they name a Python object instead of a cause."""
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
