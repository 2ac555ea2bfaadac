"""Estimates of the memory that decoding takes, from files of each format."""

import pytest
from PIL import Image

from benchmarks.photographs.formats import file
from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.scoring.images import cost
from shared.scoring.images.formats import format_of

PIXELS = 50_000_000
SIZE = (300, 200)


PICTURE = Image.new("RGB", SIZE, (1, 2, 3))
FILES = {
    **{name: file(PICTURE, name) for name in ("PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF")},
    "WebP, lossless": file(PICTURE, "WEBP", lossless=True),
    "WebP, extended": file(PICTURE, "WEBP", exif=b"Exif\x00\x00"),
    "BMP of OS/2": b"BM" + bytes(12) + (12).to_bytes(4, "little") + bytes([44, 1, 200, 0, 1, 0, 24, 0]),
}


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_read_from_the_header(name: str) -> None:
    data = FILES[name]

    assert cost.size(data, format_of(data)) == SIZE
    assert 4 * 300 * 200 <= cost.decoding(data, PIXELS) <= 14 * 300 * 200
    with pytest.raises(ImageTooLarge):
        cost.decoding(data, 300 * 200 - 1)


def test_a_progressive_jpeg_costs_more_than_a_baseline_one() -> None:
    assert cost.decoding(file(PICTURE, "JPEG"), PIXELS) < cost.decoding(file(PICTURE, "JPEG", progressive=True), PIXELS)


@pytest.mark.parametrize("name", FILES)
def test_a_header_that_cannot_be_read_states_no_size(name: str) -> None:
    for end in range(16, 40):
        assert cost.decoding(FILES[name][:end], PIXELS) >= 0


def test_of_a_photograph_in_tiles_the_whole_size_counts() -> None:
    def ispe(width: int, height: int) -> bytes:
        return b"\x00\x00\x00\x14ispe" + bytes(4) + width.to_bytes(4) + height.to_bytes(4)

    data = file(PICTURE, "HEIF")[:40] + ispe(512, 512) * 48 + ispe(4032, 3024) + ispe(320, 240)

    assert cost.size(data, format_of(data)) == (4032, 3024)


@pytest.mark.parametrize(
    ("data", "error"), [(b"no image", UnsupportedImage), (file(PICTURE, "JPEG")[:30], DamagedImage)]
)
def test_what_is_no_image_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        cost.decoding(data, PIXELS)
