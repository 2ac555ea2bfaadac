"""Photographs for the measurements, made from an installed sample."""

import io

import numpy as np
from PIL import Image

from devstack.photos import photo

LARGE = (4000, 3000)


def jpeg(size: int) -> bytes:
    """A photograph as a JPEG file of at most ``size`` bytes, and little less.

    Raises:
        PhotoError: no sample photographs are installed.
        ValueError: ``size`` is too small.
    """
    picture = _sample()
    for width in range(600, 50, -10):
        small = picture.resize((width, width * 2 // 3))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=85)
        if file.tell() <= size:
            return file.getvalue()
    raise ValueError(f"no photograph has as few as {size} bytes")


def large_photograph() -> Image.Image:
    """A photograph of 12 megapixels with a camera's noise.

    Raises:
        PhotoError: no sample photographs are installed.
    """
    large = _sample().resize(LARGE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).integers(-7, 8, (LARGE[1], LARGE[0], 1), dtype=np.int16)
    return Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8))


def _sample() -> Image.Image:
    with Image.open(photo("coffee")) as image:
        return image.convert("RGB")
