"""A progressive JPEG decoded at an eighth of its size gives the same pixels with its detail and without."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from benchmarks.photographs import file, lying, plain
from shared.errors import DamagedImage
from shared.scoring.images import geometry, shrinking
from shared.scoring.images.scans import without_detail

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
def test_the_same_pixels_from_a_smaller_file(writer: str, size: tuple[int, int], mode: str) -> None:
    data = file(plain("coffee").resize(size).convert(mode), "JPEG", progressive=True, **WRITERS[writer])

    small = without_detail(data)

    assert len(small) < len(data)
    np.testing.assert_array_equal(eighth(small), eighth(data))


def test_what_follows_the_picture_is_no_part_of_it() -> None:
    """Phones append a second picture behind the first (CIPA DC-007)."""
    data = file(plain("coffee"), "JPEG", progressive=True)

    assert without_detail(data + data) == without_detail(data)


@pytest.mark.parametrize("left", [0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_short_is_left_as_it_is(left: float) -> None:
    data = file(plain("coffee"), "JPEG", progressive=True)
    cut = data[: int(left * len(data))]

    assert without_detail(cut) is cut


@pytest.mark.parametrize("odd", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 20_000])
def test_odd_files_are_left_as_they_are(odd: bytes) -> None:
    assert without_detail(odd) is odd


def test_a_large_progressive_photograph_that_is_cut_short_is_still_refused() -> None:
    data = file(plain("coffee").resize((4200, 2800)), "JPEG", progressive=True)

    with pytest.raises(DamagedImage):
        shrinking.small_picture(data[: len(data) // 2], 256, 50_000_000, enlarge=True)


@pytest.mark.parametrize("size", [(601, 400), (433, 700), (3001, 4001)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_centre_by_itself_is_the_centre_of_the_whole(size: tuple[int, int], orientation: int) -> None:
    data = lying(plain("coffee").resize(size), orientation, "JPEG", quality=80)

    whole = shrinking.small_picture(data, 256, 50_000_000, enlarge=True)
    part = shrinking.small_picture(data, 256, 50_000_000, enlarge=True, side=224)

    np.testing.assert_array_equal(np.asarray(part), np.asarray(whole.crop(geometry.centre(whole.size, 224))))


def test_a_coarse_decode_is_corrected_for_its_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    large = plain("coffee").resize((4500, 3000), Image.Resampling.BICUBIC)
    data = file(large, "JPEG", quality=95, subsampling=0)
    wanted = np.asarray(large.resize((384, 256), Image.Resampling.BICUBIC), np.float32)

    def distance() -> float:
        small = shrinking.small_picture(data, 256, 50_000_000, enlarge=True)
        return float(np.abs(np.asarray(small) - wanted).mean())

    corrected = distance()
    monkeypatch.setattr(shrinking, "_NARROW", 1.0)

    assert corrected < distance()
