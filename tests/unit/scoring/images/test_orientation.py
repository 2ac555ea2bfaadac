"""The orientation is applied in each format that has one, for tensors and files."""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from benchmarks.photographs.formats import BYTES, ORIENTATION, PIXELS, TRANSPOSITIONS, file, oriented, plain
from shared.scoring.images import tiff, to_file, to_tensor
from shared.settings import Preprocessing

PREPROCESSING = Preprocessing(size=56, resize=64, mean=(0, 0, 0), scale=(1, 1, 1))
PICTURE = plain("coffee").resize((150, 100))
FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
}


@pytest.fixture(scope="module")
def upright() -> np.ndarray:
    return to_tensor(file(PICTURE, "PNG"), PREPROCESSING, PIXELS)


def test_the_sample_image_differs_in_each_of_the_eight_orientations(upright: np.ndarray) -> None:
    """Otherwise the tests below could not fail."""
    square = Image.fromarray(upright.astype(np.uint8))
    for transposition in TRANSPOSITIONS.values():
        if transposition is not None:
            assert np.abs(np.asarray(square.transpose(transposition)) - upright).mean() > 10


@pytest.mark.parametrize("orientation", TRANSPOSITIONS)
@pytest.mark.parametrize("kind", FORMATS)
def test_the_orientation_is_applied_to_tensors_and_files(kind: str, orientation: int, upright: np.ndarray) -> None:
    data = oriented(PICTURE, orientation, kind, **FORMATS[kind])

    converted = to_file(data, PREPROCESSING, PIXELS, BYTES)

    assert np.abs(to_tensor(data, PREPROCESSING, PIXELS) - upright).mean() < 3
    assert np.abs(to_tensor(converted, PREPROCESSING, PIXELS) - upright).mean() < 3
    with Image.open(io.BytesIO(converted)) as image:
        assert image.size == (96, 64)
        assert "exif" not in image.info


def test_the_orientation_is_applied_to_a_large_jpeg_that_is_decoded_at_reduced_size(upright: np.ndarray) -> None:
    data = oriented(PICTURE.resize((1501, 1001), Image.Resampling.BICUBIC), 6, "JPEG", quality=95)

    assert np.abs(to_tensor(data, PREPROCESSING, PIXELS) - upright).mean() < 3


@pytest.mark.parametrize("kind", FORMATS)
def test_exif_without_an_orientation_leaves_the_image_as_it_is(kind: str, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    assert ORIENTATION not in exif
    data = file(PICTURE, kind, exif=exif, **FORMATS[kind])

    assert np.abs(to_tensor(data, PREPROCESSING, PIXELS) - upright).mean() < 3


def test_the_heif_samples_have_their_orientation_in_properties_and_in_exif() -> None:
    """As phones write both, the tests above check that it is not applied twice."""
    data = oriented(PICTURE, 6, "HEIF")

    assert b"irot" in data
    assert tiff.orientation(pillow_heif.open_heif(data).info["exif"]) == 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_orientation_of_heif_in_exif_alone_is_applied(orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    transposition = TRANSPOSITIONS[orientation]
    assert transposition is not None
    data = file(PICTURE.transpose(transposition), "HEIF", exif=exif, **FORMATS["HEIF"])

    assert b"irot" not in data
    assert np.abs(to_tensor(data, PREPROCESSING, PIXELS) - upright).mean() < 3
