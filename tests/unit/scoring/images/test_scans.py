"""A progressive JPEG decoded at an eighth of its size gives the same pixels with and without its detail scans."""

import functools
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from benchmarks.photographs.formats import file, oriented, plain
from shared.errors import DamagedImage
from shared.scoring.images import geometry, shrinking
from shared.scoring.images.scans import without_detail
from shared.settings import Preprocessing

SHORT_SIDE, CENTRE = (
    functools.partial(plan, how=Preprocessing(size=224, resize=256))
    for plan in (geometry.for_file, geometry.for_tensor)
)

WRITERS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "restarts": {"restart_marker_blocks": 7},
    "coarse": {"quality": 20},
}


def eighth(data: bytes) -> np.ndarray[Any, Any]:
    image = JpegImageFile(io.BytesIO(data))
    image.draft(None, (image.width // 8, image.height // 8))
    image.load()
    return np.asarray(image)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(1201, 803), (1600, 1200)])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_smaller_file_has_the_same_pixels(writer: str, size: tuple[int, int], mode: str) -> None:
    data = file(plain("coffee").resize(size).convert(mode), "JPEG", progressive=True, **WRITERS[writer])

    small = without_detail(data)

    assert len(small) < len(data)
    np.testing.assert_array_equal(eighth(small), eighth(data))


def test_data_after_the_image_is_removed() -> None:
    """Phones append a second image (CIPA DC-007)."""
    data = file(plain("coffee"), "JPEG", progressive=True)

    assert without_detail(data + data) == without_detail(data)


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.9999])
def test_a_truncated_file_is_unchanged(fraction: float) -> None:
    data = file(plain("coffee"), "JPEG", progressive=True)
    truncated = data[: int(fraction * len(data))]

    assert without_detail(truncated) is truncated


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 20_000])
def test_an_irregular_file_is_unchanged(data: bytes) -> None:
    assert without_detail(data) is data


def test_a_large_truncated_progressive_photograph_is_rejected() -> None:
    data = file(plain("coffee").resize((4200, 2800)), "JPEG", progressive=True)

    with pytest.raises(DamagedImage):
        shrinking.decode_small(data[: len(data) // 2], SHORT_SIDE, 50_000_000)


@pytest.mark.parametrize("size", [(601, 400), (433, 700), (3001, 4001)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_central_square_equals_the_centre_of_the_whole_image(size: tuple[int, int], orientation: int) -> None:
    data = oriented(plain("coffee").resize(size), orientation, "JPEG", quality=80)

    whole = shrinking.decode_small(data, SHORT_SIDE, 50_000_000).image
    part = shrinking.decode_small(data, CENTRE, 50_000_000).image

    # The square is resized by itself, from sides that are rounded to 32 bits: hardly a value is rounded the other way.
    centre = whole.crop(geometry.centre(whole.size, 224))
    difference = np.abs(np.asarray(part, np.int16) - np.asarray(centre, np.int16))
    assert difference.max() <= 2
    assert np.count_nonzero(difference) < 0.001 * difference.size


def test_the_blur_of_decoding_at_reduced_size_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    large = plain("coffee").resize((4500, 3000), Image.Resampling.BICUBIC)
    data = file(large, "JPEG", quality=95, subsampling=0)
    expected = np.asarray(large.resize((384, 256), Image.Resampling.BICUBIC), np.float32)

    def distance() -> float:
        small = shrinking.decode_small(data, SHORT_SIDE, 50_000_000).image
        return float(np.abs(np.asarray(small) - expected).mean())

    corrected = distance()
    monkeypatch.setattr(shrinking, "_NARROW", 1.0)

    assert corrected < distance()
