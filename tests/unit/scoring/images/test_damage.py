"""Damaged, oversized and malicious image files: each raises the right error, in bounded memory."""

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.formats import BYTES, PIXELS, file, oriented, plain, png, ycck
from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.scoring.images import forwardable, to_file, to_tensor
from shared.settings import Preprocessing

PREPROCESSING = Preprocessing(size=28, resize=32)
PICTURE = plain("coffee").resize((120, 80))

FILES = {
    "JPEG": file(PICTURE, "JPEG"),
    "progressive JPEG": file(PICTURE, "JPEG", progressive=True),
    "YCCK": ycck(PICTURE),
    "PNG": file(PICTURE, "PNG"),
    "GIF": file(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "WebP": file(PICTURE, "WEBP"),
    "WebP lossless": file(PICTURE, "WEBP", lossless=True),
    "WebP with metadata": oriented(PICTURE, 3, "WEBP"),
    "BMP": file(PICTURE, "BMP"),
    "TIFF": file(PICTURE, "TIFF"),
    "TIFF LZW": file(PICTURE, "TIFF", compression="tiff_lzw"),
    "TIFF of two pages": file(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
    "AVIF": file(PICTURE, "AVIF"),
    "HEIC": file(PICTURE, "HEIF"),
}
# Bytes at the end of a file that are not part of the first image's data; of a JPEG, also those of its last block.
OPTIONAL_BYTES = {"GIF": 100, "TIFF of two pages": 500, "PNG": 40, "JPEG": 130, "YCCK": 60}


def convert_to_both_forms(data: bytes, max_pixels: int = PIXELS) -> None:
    to_tensor(data, PREPROCESSING, max_pixels)
    to_file(data, PREPROCESSING, max_pixels, BYTES)


def peak_megabytes(work: Callable[[], object]) -> float:
    """The largest increase of the resident set during ``work`` (proc(5), VmHWM)."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    work()
    return (_status("VmHWM") - before) / 1e3


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


only_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured with Linux's /proc"
)


@pytest.mark.parametrize("name", FILES)
def test_only_the_complete_file_is_valid(name: str) -> None:
    data = FILES[name]
    convert_to_both_forms(data)

    end = len(data) - OPTIONAL_BYTES.get(name, 0)
    for length in sorted({*range(32, end, end // 25), end - 1}):
        with pytest.raises(DamagedImage):
            to_tensor(data[:length], PREPROCESSING, PIXELS)
        with pytest.raises(DamagedImage):
            to_file(data[:length], PREPROCESSING, PIXELS, BYTES)


@pytest.mark.parametrize("name", FILES)
def test_corrupted_bytes_are_decoded_or_rejected_with_an_image_error(name: str) -> None:
    data = FILES[name]
    for seed in range(40):
        broken = bytearray(data)
        for step in range(1 + seed % 5):
            at = zlib.crc32(bytes([seed, step])) % (len(data) if seed % 2 else min(300, len(data)))
            broken[at] = zlib.crc32(bytes([step, seed])) % 256
        try:
            forwardable(bytes(broken), 1_000_000, BYTES)
            convert_to_both_forms(bytes(broken), 1_000_000)
        except (DamagedImage, UnsupportedImage, ImageTooLarge):
            continue


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_checked_before_pixels_are_decoded(name: str) -> None:
    """The second half of the file is damaged, but the reported error is the size."""
    data = FILES[name]
    damaged = data if name.startswith("TIFF") else data[: len(data) // 2 + 200].ljust(len(data), b"\x55")

    with pytest.raises(ImageTooLarge) as caught:
        to_tensor(damaged, PREPROCESSING, 120 * 80 - 1)

    assert caught.value.detail == "The image has 120 x 80 pixels; 9599 are allowed."
    assert caught.value.members == {"limit": 9599, "unit": "pixels"}


def _with_size(data: bytes, at: int, form: str, *size: int | bytes) -> bytes:
    return data[:at] + struct.pack(form, *size) + data[at + struct.calcsize(form) :]


def _tiff(*entries: tuple[int, int, int, int]) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + bytes(4)


_WIDE_TIFF = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
_GIF = FILES["GIF"]
_FRAME = _GIF.index(b",", 13 + 3 * 256)

BOMBS = {
    "JPEG": _with_size(FILES["JPEG"], FILES["JPEG"].index(b"\xff\xc0") + 5, ">HH", 60_000, 60_000),
    "PNG": png((60_000, 60_000), 8, 2, b""),
    "GIF canvas": _with_size(_GIF, 6, "<HH", 60_000, 60_000),
    "GIF frame larger than its canvas": _with_size(_GIF, _FRAME + 5, "<HH", 60_000, 60_000),
    "WebP": _with_size(FILES["WebP"], 26, "<HH", 16_383, 16_383),
    "WebP lossless": _with_size(FILES["WebP lossless"], 21, "<I", 0x0FFFFFFF),
    "WebP canvas": _with_size(FILES["WebP with metadata"], 24, "<6s", b"\xff\x3f\0\xff\x3f\0"),
    "BMP": _with_size(FILES["BMP"], 18, "<ii", 60_000, 60_000),
    "TIFF": _tiff(*_WIDE_TIFF, (277, 3, 1, 1), (278, 4, 1, 60_000), (279, 4, 1, 100)),
    "AVIF": _with_size(FILES["AVIF"], FILES["AVIF"].index(b"ispe") + 8, ">II", 16_000, 16_000),
    "HEIC": _with_size(FILES["HEIC"], FILES["HEIC"].index(b"ispe") + 8, ">II", 16_000, 16_000),
}


@only_linux
@pytest.mark.parametrize("name", BOMBS)
def test_headers_with_billions_of_pixels_take_no_memory(name: str) -> None:
    def read() -> None:
        with pytest.raises(ImageTooLarge, match="50000000 are allowed"):
            to_tensor(BOMBS[name], PREPROCESSING, PIXELS)

    assert peak_megabytes(read) < 10


def _overlapping() -> bytes:
    """Metadata with thousands of tags, each of which refers to nearly all of it: gigabytes if all are copied."""
    count, size = 5000, 64_000
    entries = b"".join(struct.pack("<HHII", 40_000 + tag, 1, size - 100, 50) for tag in range(count))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)).ljust(size, b"\0")


def _exif_in_jpeg() -> bytes:
    data, exif = FILES["JPEG"], b"Exif\0\0" + _overlapping()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def _metadata_bombs() -> dict[str, bytes]:
    compressed = zlib.compress(bytes(50_000_000), 9)
    return {
        "EXIF in JPEG": _exif_in_jpeg(),
        "EXIF in PNG": file(PICTURE, "PNG", exif=b"Exif\0\0" + _overlapping()),
        "EXIF in WebP": file(PICTURE, "WEBP", exif=b"Exif\0\0" + _overlapping()),
        "profile in PNG": png((8, 8), 8, 0, bytes(72), (b"iCCP", b"x\0\0" + compressed)),
        "text in PNG": png((8, 8), 8, 0, bytes(72), (b"zTXt", b"x\0\0" + compressed)),
        "international text in PNG": png((8, 8), 8, 0, bytes(72), (b"iTXt", b"x\0\x01\0\0\0" + compressed)),
        "tags of TIFF": _overlapping(),
        "comment in GIF": _GIF[:781] + b"!\xfe" + (b"\xff" + b"c" * 255) * 20_000 + b"\0" + _GIF[781:],
    }


@only_linux
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about each tag that it skips
@pytest.mark.parametrize("name", _metadata_bombs())
def test_metadata_that_decompresses_to_gigabytes_takes_little_memory(name: str) -> None:
    data = _metadata_bombs()[name]

    def read() -> None:
        try:
            forwardable(data, PIXELS, BYTES)
            convert_to_both_forms(data)
        except DamagedImage:
            pass

    assert peak_megabytes(read) < 40


def test_only_a_small_run_length_encoded_bmp_is_supported() -> None:
    def bmp(width: int, height: int, body: bytes, compression: int = 1) -> bytes:
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(body), 0, 0, 256, 0)
        palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
        return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024) + header + palette + body

    assert to_tensor(bmp(40, 40, b"\x28\xff\0\0" * 40), PREPROCESSING, PIXELS).min() == 1
    assert to_tensor(bmp(2500, 2000, b"\xff" * 5_000_000, 0), PREPROCESSING, PIXELS).min() == 1
    with pytest.raises(UnsupportedImage, match="5000 x 1000 pixels; 4000000 are allowed"):
        to_tensor(bmp(5000, 1000, b"\x01\xff\0\0" * 1000), PREPROCESSING, PIXELS)


@only_linux
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"quality": 95}], ids=str)
def test_a_jpeg_of_twelve_megapixels_takes_less_than_twenty_megabytes(options: dict[str, int]) -> None:
    large = oriented(plain("coffee").resize((4000, 3000)), 6, "JPEG", **options)
    convert_to_both_forms(FILES["JPEG"])  # so that the modules are loaded

    assert peak_megabytes(lambda: to_tensor(large, Preprocessing(), PIXELS)) < 20
    assert peak_megabytes(lambda: to_file(large, Preprocessing(), PIXELS, BYTES)) < 20


def test_without_pillow_heif_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)

    with pytest.raises(UnsupportedImage, match="HEIF is not supported: the gateway's package pillow-heif"):
        to_tensor(FILES["HEIC"], PREPROCESSING, PIXELS)
    to_tensor(FILES["AVIF"], PREPROCESSING, PIXELS)  # does not need the package


def test_a_file_with_two_formats_is_decoded_by_its_first_signature() -> None:
    np.testing.assert_array_equal(
        to_tensor(FILES["GIF"] + FILES["PNG"], PREPROCESSING, PIXELS), to_tensor(FILES["GIF"], PREPROCESSING, PIXELS)
    )
