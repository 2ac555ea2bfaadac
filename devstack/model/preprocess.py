"""From image files to a model's input: decoded, resized, cropped and normalised."""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from devstack.model.graph import SIDE

type Pixels = NDArray[np.float32]

FORMATS = ("JPEG", "PNG")
# A small file can unpack to gigabytes; this is four times a phone's photograph.
MAX_PIXELS = 50_000_000

_SHORT_SIDE = 256


class ImageError(ValueError):
    """An image cannot be decoded; the message is one line."""


def normalise(pixels: Pixels) -> Pixels:
    """Scale values of 0 to 255 as the local model was trained: ``(value - 127) / 128``."""
    return (pixels - np.float32(127)) / np.float32(128)


def decode_all(files: Sequence[bytes], start: int = 0, normalise: Callable[[Pixels], Pixels] = normalise) -> Pixels:
    """Decode JPEG or PNG files into float32 [N, 224, 224, 3]. ``start`` is the index of the first, for the error.

    ``normalise`` is applied to RGB values of 0 to 255.

    Raises:
        ImageError: a file is not such an image; the message contains its index.
    """
    batch = np.empty((len(files), SIDE, SIDE, 3), np.float32)
    for index, file in enumerate(files, start):
        try:
            batch[index - start] = _decode(file)
        except ImageError as error:
            raise ImageError(f"images[{index}] {error}") from None
    return normalise(batch)


def decode(file: bytes) -> Pixels:
    """Decode one JPEG or PNG file into the local model's input, float32 [224, 224, 3].

    Raises:
        ImageError: the file is not such an image, is damaged, or is too large.
    """
    return normalise(_decode(file))


def _decode(file: bytes) -> Pixels:
    """Decode a file into float32 [224, 224, 3]: RGB, 0 to 255.

    The short side is resized to 256 (bicubic) and the centre is cut out. Orientation tags are ignored: clients rotate
    photographs of phones before they send them.
    """
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as image:
            _check_size(image)
            return np.asarray(_crop(_rgb(image)), np.float32)
    except ImageError:
        raise
    except Exception as error:  # the decoders raise OSError, SyntaxError, struct.error and others
        # Pillow's message about an unknown format names a Python object instead of a cause.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(f"cannot be decoded as JPEG or PNG: {reason}") from None


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"has {image.width}x{image.height} pixels, more than {MAX_PIXELS} in all")


def _rgb(image: Image.Image) -> Image.Image:
    """Three channels of eight bits; transparency is dropped, as TensorFlow's decoder drops it."""
    if image.mode.startswith("I;16"):  # Pillow would clip the values instead of dropping the lower eight bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:  # a palette with transparent entries, about which Pillow would warn
        image = image.convert("RGBA")
    return image.convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    scale = _SHORT_SIDE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return resized.crop((left, top, left + SIDE, top + SIDE))
