"""Every colour space, profile and transparency is converted to sRGB on a white background."""

import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.photographs.formats import BYTES, PIXELS, deep_png, file, plain, png, transparent, ycck
from shared.errors import UnsupportedImage
from shared.scoring.images import Format, icc, to_file, to_tensor
from shared.settings import Preprocessing
from tests.support.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    SWAPPED,
    encoded_in,
    grey_profile,
    rgb_profile,
)

PREPROCESSING = Preprocessing(size=56, resize=64, mean=(0, 0, 0), scale=(1, 1, 1))
PICTURE = plain("coffee").resize((120, 80))


def pixels(data: bytes, preprocessing: Preprocessing = PREPROCESSING) -> np.ndarray:
    """The tensor, which must equal the tensor of the converted file."""
    tensor = to_tensor(data, preprocessing, PIXELS)
    converted = to_tensor(to_file(data, preprocessing, PIXELS, BYTES), preprocessing, PIXELS)
    np.testing.assert_array_equal(converted, tensor)
    return tensor


def difference(data: bytes, reference: bytes) -> float:
    """The mean absolute difference of the pixels, of 255."""
    return float(np.abs(pixels(data) - pixels(reference)).mean())


REFERENCE = file(PICTURE, "PNG")


# The file, and the tolerance: lossy formats, palettes and CMYK conversions differ a little.
COLOUR_FORMATS = {
    "alpha PNG": (file(transparent(PICTURE), "PNG"), 1),
    "alpha WebP": (file(transparent(PICTURE), "WEBP", lossless=True, exact=True), 1),
    "alpha TIFF": (file(transparent(PICTURE), "TIFF"), 1),
    "alpha AVIF": (file(transparent(PICTURE), "AVIF", quality=100, subsampling="4:4:4"), 4),
    "alpha HEIC": (file(transparent(PICTURE), "HEIF", quality=100, chroma=444), 4),
    "16-bit PNG": (deep_png(PICTURE), 0),
    "CMYK JPEG": (file(PICTURE.convert("CMYK"), "JPEG", quality=95, subsampling=0), 4),
    "CMYK TIFF": (file(PICTURE.convert("CMYK"), "TIFF"), 1),
    "YCCK JPEG": (ycck(PICTURE), 4),
    "YCbCr TIFF": (file(PICTURE.convert("YCbCr"), "TIFF"), 3),
    "palette PNG": (file(PICTURE.quantize(256, Image.Quantize.MEDIANCUT), "PNG"), 8),
    "GIF": (file(PICTURE, "GIF"), 8),
    "RGBX TIFF": (file(PICTURE.convert("RGBX"), "TIFF"), 0),
    "BMP": (file(PICTURE, "BMP"), 0),
    "32-bit BMP": (file(PICTURE.convert("RGBA"), "BMP"), 0),
}


@pytest.mark.parametrize("name", COLOUR_FORMATS)
def test_every_colour_format_gives_the_same_pixels(name: str) -> None:
    data, tolerance = COLOUR_FORMATS[name]

    assert difference(data, REFERENCE) <= tolerance


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
def test_greyscale_images_keep_their_values(data: bytes) -> None:
    assert difference(data, file(PICTURE.convert("L").convert("RGB"), "PNG")) <= 1


def test_transparent_black_becomes_white() -> None:
    invisible = Image.new("RGBA", (80, 80), (0, 0, 0, 0))

    for kind in ("PNG", "WEBP", "TIFF", "GIF"):
        assert pixels(file(invisible, kind)).min() == 255, kind


def test_half_transparent_pixels_are_blended_with_white() -> None:
    translucent = Image.new("RGBA", (80, 80), (255, 0, 0, 128))

    assert pixels(file(translucent, "PNG"))[20, 20].tolist() == [255, 127, 127]


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_becomes_white(mode: str) -> None:
    image = Image.new("RGB", (80, 80), "black").convert(mode)
    data = file(image, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)

    assert pixels(data).min() == 255


def test_a_large_transparent_image_is_blended_with_white_before_it_is_reduced() -> None:
    """This happens in bands, of which each must be placed correctly, to the last row."""
    small = PICTURE.resize((301, 207))
    large = transparent(small.resize((1505, 1035), Image.Resampling.NEAREST))

    assert difference(file(large, "PNG", compress_level=1), file(small, "PNG")) < 3


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_white_level_are_rejected(mode: str) -> None:
    with pytest.raises(UnsupportedImage, match="have no defined white level"):
        to_tensor(file(Image.new(mode, (8, 8)), "TIFF"), PREPROCESSING, PIXELS)


@pytest.mark.parametrize(
    ("profile", "unconverted_difference"),
    [
        (rgb_profile(DISPLAY_P3), 2),
        (rgb_profile(ADOBE_RGB, 2.2), 2),
        (rgb_profile(PROPHOTO, 1.8, (0.3457, 0.3585)), 10),
        (rgb_profile(SRGB, 1.0), 20),
        (rgb_profile(SWAPPED), 20),
    ],
    ids=["Display P3", "Adobe RGB", "ProPhoto RGB", "linear", "red and blue swapped"],
)
def test_a_profile_is_converted_to_srgb(profile: bytes, unconverted_difference: float) -> None:
    picture = encoded_in(profile, PICTURE)

    assert difference(file(picture, "PNG"), REFERENCE) > unconverted_difference
    for kind, options in (
        ("PNG", {}),
        ("TIFF", {}),
        ("WEBP", {"lossless": True}),
        ("HEIF", {"quality": 100, "chroma": 444}),
    ):
        assert difference(file(picture, kind, icc_profile=profile, **options), REFERENCE) < 5, kind


def test_an_srgb_profile_changes_nothing() -> None:
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

    assert difference(data, file(grey, "PNG")) < 5  # eight bits encode few dark tones of a linear curve
    assert difference(file(linear, "TIFF"), file(grey, "PNG")) > 20


@pytest.mark.parametrize(
    "profile",
    [b"", b"no profile", rgb_profile(PROPHOTO)[:200], rgb_profile(PROPHOTO)[:128], grey_profile(1.0)],
    ids=["empty", "text", "truncated", "only a header", "for grey"],
)
def test_a_profile_that_is_invalid_or_for_another_colour_space_is_ignored(profile: bytes) -> None:
    assert difference(file(PICTURE, "PNG", icc_profile=profile), REFERENCE) == 0


def test_lab_is_converted() -> None:
    lab = ImageCms.profileToProfile(
        PICTURE, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None

    assert difference(file(lab, "TIFF"), REFERENCE) < 3


def replaced(profile: bytes, part: bytes, by: bytes) -> bytes:
    assert part in profile
    return profile.replace(part, by)


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
        # Without a curve, with one of an unknown kind, and with an empty one, which is a straight line.
        (replaced(rgb_profile(SRGB), b"gTRC", b"????"), False, False),
        (replaced(grey_profile(2.2), b"curv", b"sf32"), False, False),
        (grey_profile(1.0).replace(b"curv\0\0\0\0\0\0\0\x01", b"curv\0\0\0\0\0\0\0\0"), False, False),
    ],
)
def test_a_profiles_distance_from_srgb(profile: bytes, none: bool, small: bool) -> None:
    distance = icc.distance(profile)

    assert (distance.is_none, distance.is_small) == (none, small)


def test_a_compressed_profile_that_is_too_large_or_invalid_is_ignored() -> None:
    assert icc.inflate(zlib.compress(bytes(65_000))) == bytes(65_000)
    assert icc.inflate(zlib.compress(bytes(10_000_000))) == b""
    assert icc.inflate(b"not compressed") == b""


def test_the_formats_have_the_names_of_their_decoders() -> None:
    assert {kind.upper() for kind in Format} <= {"HEIF", *Image.registered_extensions().values()}
