"""Whatever colours a picture has, it becomes what a screen shows: RGB on white, in sRGB."""

import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.photographs import ENOUGH, ROOM, deep_png, file, plain, png, transparent, ycck
from shared.errors import UnsupportedImage
from shared.scoring.images import Format, icc, to_file, to_tensor
from shared.settings import Preprocessing
from tests.shared.scoring.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    SWAPPED,
    encoded_in,
    grey_profile,
    rgb_profile,
)

HOW = Preprocessing(size=56, resize=64, mean=(0, 0, 0), scale=(1, 1, 1))
PICTURE = plain("coffee").resize((120, 80))


def pixels(data: bytes, how: Preprocessing = HOW) -> np.ndarray:
    """The tensor; the file that is made instead must show the same."""
    tensor = to_tensor(data, how, ENOUGH)
    made = to_tensor(to_file(data, how, ENOUGH, ROOM), how, ENOUGH)
    np.testing.assert_array_equal(made, tensor)
    return tensor


def difference(data: bytes, to: bytes) -> float:
    return float(np.abs(pixels(data) - pixels(to)).mean())


REFERENCE = file(PICTURE, "PNG")


@pytest.mark.parametrize(
    ("data", "at_most"),
    [
        (file(transparent(PICTURE), "PNG"), 1),
        (file(transparent(PICTURE), "WEBP", lossless=True, exact=True), 1),
        (file(transparent(PICTURE), "TIFF"), 1),
        (file(transparent(PICTURE), "AVIF", quality=100, subsampling="4:4:4"), 4),
        (file(transparent(PICTURE), "HEIF", quality=100, chroma=444), 4),
        (deep_png(PICTURE), 0),
        (file(PICTURE.convert("CMYK"), "JPEG", quality=95, subsampling=0), 4),
        (file(PICTURE.convert("CMYK"), "TIFF"), 1),
        (ycck(PICTURE), 4),
        (file(PICTURE.convert("YCbCr"), "TIFF"), 3),
        (file(PICTURE.quantize(256, Image.Quantize.MEDIANCUT), "PNG"), 8),
        (file(PICTURE, "GIF"), 8),
        (file(PICTURE.convert("RGBX"), "TIFF"), 0),
        (file(PICTURE, "BMP"), 0),
        (file(PICTURE.convert("RGBA"), "BMP"), 0),
    ],
    ids=[
        "alpha PNG",
        "alpha WebP",
        "alpha TIFF",
        "alpha AVIF",
        "alpha HEIC",
        "16-bit PNG",
        "CMYK JPEG",
        "CMYK TIFF",
        "YCCK JPEG",
        "YCbCr TIFF",
        "palette PNG",
        "GIF",
        "RGBX TIFF",
        "BMP",
        "32-bit BMP",
    ],
)
def test_the_picture_is_the_same(data: bytes, at_most: float) -> None:
    """Of 255; what is lossy, has few colours, or was converted by inks may differ a little."""
    assert difference(data, REFERENCE) <= at_most


@pytest.mark.parametrize(
    "data",
    [
        file(PICTURE.convert("L"), "JPEG", quality=100),
        file(PICTURE.convert("L"), "PNG"),
        png(
            (120, 80),
            16,
            0,
            b"".join(
                b"\0" + row.astype(">u2").tobytes() for row in np.asarray(PICTURE.convert("L")).astype(np.uint16) * 257
            ),
        ),
        file(Image.fromarray(np.asarray(PICTURE.convert("L")).astype(np.uint16) * 257), "TIFF"),
        file(PICTURE.convert("L"), "WEBP", lossless=True),
        file(PICTURE.convert("L"), "GIF"),
        file(PICTURE.convert("LA"), "PNG"),
    ],
    ids=["JPEG", "PNG", "16-bit PNG", "16-bit TIFF", "WebP", "GIF", "PNG with alpha"],
)
def test_grey_stays_the_same_grey(data: bytes) -> None:
    assert difference(data, file(PICTURE.convert("L").convert("RGB"), "PNG")) <= 1


def test_black_that_is_see_through_is_white() -> None:
    invisible = Image.new("RGBA", (80, 80), (0, 0, 0, 0))

    for kind in ("PNG", "WEBP", "TIFF", "GIF"):
        assert pixels(file(invisible, kind)).min() == 255, kind


def test_half_transparent_is_half_white() -> None:
    veil = Image.new("RGBA", (80, 80), (255, 0, 0, 128))

    assert pixels(file(veil, "PNG"))[20, 20].tolist() == [255, 127, 127]


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_is_white(mode: str) -> None:
    image = Image.new("RGB", (80, 80), "black").convert(mode)
    data = file(image, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)

    assert pixels(data).min() == 255


def test_a_large_transparent_picture_is_laid_on_white_before_it_is_shrunk() -> None:
    """In bands: each must lie at its place, to the last row."""
    small = PICTURE.resize((301, 207))
    large = transparent(small.resize((1505, 1035), Image.Resampling.NEAREST))

    assert difference(file(large, "PNG", compress_level=1), file(small, "PNG")) < 3


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(UnsupportedImage, match="32 bits"):
        to_tensor(file(Image.new(mode, (8, 8)), "TIFF"), HOW, ENOUGH)


@pytest.mark.parametrize(
    ("profile", "ignored"),
    [
        (rgb_profile(DISPLAY_P3), 2),
        (rgb_profile(ADOBE_RGB, 2.2), 2),
        (rgb_profile(PROPHOTO, 1.8, (0.3457, 0.3585)), 10),
        (rgb_profile(SRGB, 1.0), 20),
        (rgb_profile(SWAPPED), 20),
    ],
    ids=["Display P3", "Adobe RGB", "ProPhoto RGB", "linear", "red and blue swapped"],
)
def test_a_profile_is_converted_to_srgb(profile: bytes, ignored: float) -> None:
    picture = encoded_in(profile, PICTURE)

    assert difference(file(picture, "PNG"), REFERENCE) > ignored  # what it would be without
    for kind, options in (
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("HEIF", {"quality": 100, "chroma": 444}),
    ):
        assert difference(file(picture, kind, icc_profile=profile, **options), REFERENCE) < 5, kind


def test_srgb_itself_changes_nothing() -> None:
    for profile in (
        rgb_profile(SRGB),
        rgb_profile(SRGB, 2.2),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
    ):
        data = profile if isinstance(profile, bytes) else profile.tobytes()
        assert difference(file(PICTURE, "PNG", icc_profile=data), REFERENCE) == 0


def test_a_grey_profile_is_converted() -> None:
    grey = PICTURE.convert("L")
    linear = Image.eval(grey, lambda value: round(255 * (value / 255) ** 2.2))

    data = file(linear, "TIFF", icc_profile=grey_profile(1.0))

    assert difference(data, file(grey, "PNG")) < 5  # eight bits hold few of a linear curve's dark tones
    assert difference(file(linear, "TIFF"), file(grey, "PNG")) > 20


@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile", rgb_profile(PROPHOTO)[:200], rgb_profile(PROPHOTO)[:128], grey_profile(1.0)],
    ids=["empty", "text", "cut short", "only a header", "for grey"],
)
def test_a_profile_that_is_broken_or_not_for_this_picture_is_ignored(profile: bytes) -> None:
    assert difference(file(PICTURE, "PNG", icc_profile=profile), REFERENCE) == 0


def test_lab_is_converted() -> None:
    lab = ImageCms.profileToProfile(
        PICTURE, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None

    assert difference(file(lab, "TIFF"), REFERENCE) < 3


@pytest.mark.parametrize(
    ("profile", "none", "small"),
    [
        (rgb_profile(SRGB), True, True),
        (rgb_profile(SRGB, 2.2), True, True),
        (rgb_profile(DISPLAY_P3), False, True),
        (rgb_profile(ADOBE_RGB, 2.2), False, True),
        (rgb_profile(PROPHOTO, 1.8, (0.3457, 0.3585)), False, False),
        (rgb_profile(SRGB, 1.0), False, False),
        (rgb_profile(SWAPPED), False, False),
        (grey_profile(2.2), True, True),
        (grey_profile(1.0), False, False),
        (b"", False, False),
        (bytes(500), False, False),
    ],
)
def test_how_far_a_profile_is_from_srgb(profile: bytes, none: bool, small: bool) -> None:
    distance = icc.distance(profile)

    assert (distance.is_none, distance.is_small) == (none, small)


def test_a_packed_profile_that_unpacks_to_too_much_is_not_unpacked() -> None:
    assert icc.inflate(zlib.compress(bytes(65_000))) == bytes(65_000)
    assert icc.inflate(zlib.compress(bytes(10_000_000))) == b""
    assert icc.inflate(b"not packed") == b""


def test_the_formats_have_the_names_that_their_decoders_know() -> None:
    assert {kind.upper() for kind in Format} <= {"HEIF", *Image.registered_extensions().values()}
