"""Pictures that lie on their side are turned upright, in each format that can say so, in both forms."""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from benchmarks.photographs import ENOUGH, LAID, ORIENTATION, ROOM, file, lying, plain
from shared.scoring.images import tiff, to_file, to_tensor
from shared.settings import Preprocessing

HOW = Preprocessing(size=56, resize=64, mean=(0, 0, 0), scale=(1, 1, 1))
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
    return to_tensor(file(PICTURE, "PNG"), HOW, ENOUGH)


def test_the_picture_is_another_one_in_each_of_the_eight_positions(upright: np.ndarray) -> None:
    """The tests below could not fail otherwise."""
    square = Image.fromarray(upright.astype(np.uint8))
    for how in LAID.values():
        if how is not None:
            assert np.abs(np.asarray(square.transpose(how)) - upright).mean() > 10


@pytest.mark.parametrize("orientation", LAID)
@pytest.mark.parametrize("kind", FORMATS)
def test_it_is_turned_upright_for_a_tensor(kind: str, orientation: int, upright: np.ndarray) -> None:
    data = lying(PICTURE, orientation, kind, **FORMATS[kind])

    assert np.abs(to_tensor(data, HOW, ENOUGH) - upright).mean() < 3


@pytest.mark.parametrize("orientation", LAID)
@pytest.mark.parametrize("kind", FORMATS)
def test_it_is_turned_upright_in_a_file(kind: str, orientation: int, upright: np.ndarray) -> None:
    made = to_file(lying(PICTURE, orientation, kind, **FORMATS[kind]), HOW, ENOUGH, ROOM)

    with Image.open(io.BytesIO(made)) as image:
        assert image.size == (96, 64)
        assert "exif" not in image.info
    assert np.abs(to_tensor(made, HOW, ENOUGH) - upright).mean() < 3


def test_a_large_jpeg_is_turned_after_it_was_decoded_small(upright: np.ndarray) -> None:
    data = lying(PICTURE.resize((1501, 1001), Image.Resampling.BICUBIC), 6, "JPEG", quality=95)

    assert np.abs(to_tensor(data, HOW, ENOUGH) - upright).mean() < 3


def test_heif_that_is_turned_by_its_properties_is_not_turned_again_by_its_exif() -> None:
    """Phones write both; the tests above would have turned it twice."""
    data = lying(PICTURE, 6, "HEIF")

    assert b"irot" in data
    assert tiff.orientation(pillow_heif.open_heif(data).info["exif"]) == 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_heif_with_an_orientation_in_exif_alone_is_turned_by_it(orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    how = LAID[orientation]
    assert how is not None
    data = file(PICTURE.transpose(how), "HEIF", exif=exif, **FORMATS["HEIF"])

    assert b"irot" not in data
    assert np.abs(to_tensor(data, HOW, ENOUGH) - upright).mean() < 3
