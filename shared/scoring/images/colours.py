"""Converts the colours of an image to 8-bit sRGB on a white background."""

import io
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from shared.errors import UnsupportedImage
from shared.scoring.images import icc

if TYPE_CHECKING:
    from PIL import ImageCms

# The largest profiles in use, those of printing presses, have about 3 MB.
_MAX_PROFILE = 4_000_000
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_WHITE = (255, 255, 255)


class _Convert(Protocol):
    def __call__(self, image: Image.Image) -> Image.Image: ...


class Colours:
    """The colour conversion of one image: ``flatten`` returns RGB, ``finish`` applies an RGB profile.

    These are two steps, because the conversion from an RGB profile is expensive (15 ns per pixel) and can be applied to
    the reduced image, whereas transparency, palettes and other colour spaces must be converted before it is reduced.
    """

    def __init__(self, image: Image.Image) -> None:
        profile = image.info.get("icc_profile") or b""
        self._flatten_profile: _Convert | None = None
        self._finish_profile: _Convert | None = None
        if image.mode == "LAB":
            self._flatten_profile = _lab_to_srgb()
        elif isinstance(profile, bytes) and profile:
            self._set_profile(profile, image.mode)

    def flatten(self, image: Image.Image) -> Image.Image:
        """Convert an image, or a band of one, to 8-bit RGB on a white background.

        Raises:
            UnsupportedImage: its pixel values have no defined white level.
        """
        mode = image.mode
        if self._flatten_profile is not None and mode in {"L", "CMYK", "LAB"} and "transparency" not in image.info:
            return self._flatten_profile(image)
        if mode.startswith("I;16"):  # Pillow would clip the values instead of using their upper eight bits
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        if mode in {"I", "F"}:
            raise UnsupportedImage("The pixels are 32-bit numbers, which have no defined white level.")
        if mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
            return _on_white(image.convert("RGBA"))
        return image if mode == "RGB" else image.convert("RGB")

    def finish(self, image: Image.Image) -> Image.Image:
        """Convert the flattened image from its RGB profile to sRGB, if it has one that differs from sRGB."""
        return image if self._finish_profile is None else self._finish_profile(image)

    def _set_profile(self, profile: bytes, mode: str) -> None:
        space = _SPACES.get(profile[16:20])
        if space is None or len(profile) > _MAX_PROFILE or icc.distance(profile).is_none:
            return
        if space == "RGB" and mode in {"RGB", "RGBX", "RGBA", "RGBa", "P", "PA", "YCbCr"}:
            self._finish_profile = _to_srgb(profile, "RGB")
        elif space == mode:
            self._flatten_profile = _to_srgb(profile, mode)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(image, mask=image.getchannel("A"))
    return white


def _to_srgb(profile: bytes, mode: str) -> _Convert | None:
    """The conversion from a profile; None if the profile is invalid: the image is then scored without it."""
    from PIL import ImageCms  # noqa: PLC0415 - most photographs need none

    try:
        return _transform(ImageCms.ImageCmsProfile(io.BytesIO(profile)), mode)
    except (ImageCms.PyCMSError, OSError):
        return None


def _lab_to_srgb() -> _Convert:
    from PIL import ImageCms  # noqa: PLC0415 - hardly any photograph needs it

    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _transform(profile: "ImageCms.ImageCmsProfile", mode: str) -> _Convert:
    from PIL import ImageCms  # noqa: PLC0415 - as above

    # The default intent, perceptual, is the one for photographs; between two matrix profiles it has no effect.
    transform = ImageCms.buildTransform(profile, _srgb(), mode, "RGB")

    def convert(image: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None  # noqa: S101 - None is for a conversion in place
        return converted

    return convert


@cache
def _srgb() -> "ImageCms.ImageCmsProfile":
    from PIL import ImageCms  # noqa: PLC0415 - as above

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
