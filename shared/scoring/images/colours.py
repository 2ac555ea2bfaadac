"""From whatever colours a picture has to RGB as a screen shows it: eight bits, sRGB, on white."""

import io
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from shared.errors import UnsupportedImage
from shared.scoring.images import icc

if TYPE_CHECKING:
    from PIL import ImageCms

# The largest profiles in use, of printing presses, have about 3 MB.
_MAX_PROFILE = 4_000_000
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}
_WHITE = (255, 255, 255)


class _Convert(Protocol):
    def __call__(self, image: Image.Image) -> Image.Image: ...


class Colours:
    """The conversion for one picture: ``flatten`` gives RGB, ``finish`` what a profile of RGB says of it.

    They are two, since a profile's conversion is dear (15 ns a pixel) and can wait until the picture is smaller, while
    transparency, palettes and inks cannot.
    """

    def __init__(self, image: Image.Image) -> None:
        profile = image.info.get("icc_profile") or b""
        self._inks: _Convert | None = None
        self._finish: _Convert | None = None
        if image.mode == "LAB":
            self._inks = _lab_to_srgb()
        elif isinstance(profile, bytes) and profile:
            self._use(profile, image.mode)

    def flatten(self, image: Image.Image) -> Image.Image:
        """A picture, or a band of one, as RGB of eight bits on white.

        Raises:
            UnsupportedImage: its numbers have no defined white.
        """
        mode = image.mode
        if self._inks is not None and mode in {"L", "CMYK", "LAB"} and "transparency" not in image.info:
            return self._inks(image)
        if mode.startswith("I;16"):  # Pillow would clip where the upper eight bits are meant
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
        if mode in {"I", "F"}:
            raise UnsupportedImage("The pixels are numbers of 32 bits, of which none is defined to be white.")
        if mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
            return _on_white(image.convert("RGBA"))
        return image if mode == "RGB" else image.convert("RGB")

    def finish(self, image: Image.Image) -> Image.Image:
        """Convert the flattened picture from its profile to sRGB, where it has one that differs."""
        return image if self._finish is None else self._finish(image)

    def _use(self, profile: bytes, mode: str) -> None:
        space = _SPACES.get(profile[16:20])
        if space is None or len(profile) > _MAX_PROFILE or icc.distance(profile).is_none:
            return
        if space == "RGB" and mode in {"RGB", "RGBA", "RGBa", "P", "PA", "YCbCr"}:
            self._finish = _to_srgb(profile, "RGB")
        elif space == mode:
            self._inks = _to_srgb(profile, mode)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(image, mask=image.getchannel("A"))
    return white


def _to_srgb(profile: bytes, mode: str) -> _Convert | None:
    """The conversion from a profile; None where it is broken, since a photograph without it is better than none."""
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

    # Perceptual, the default, is what photographs are meant for; it is a no-op between two profiles of primaries.
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
