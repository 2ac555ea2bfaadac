"""Files that are no photographs are named; those of cameras and encoders that are not quite whole are decoded."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.formats import PIXELS, file, plain
from shared.errors import DamagedImage, UnsupportedImage
from shared.scoring.images import to_tensor
from shared.scoring.images.formats import format_of, is_image
from shared.settings import Preprocessing

HOW = Preprocessing()
PICTURE = plain("coffee").resize((320, 240))

OTHERS = {
    "a JPEG XL image": [b"\xff\x0a\xfa\x1f", b"\x00\x00\x00\x0cJXL \r\n\x87\n"],
    "a JPEG 2000 image": [b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\x00\x2f"],
    "a PDF document": [b"%PDF-1.7\n"],
    "an SVG drawing": [b"<svg xmlns='http://www.w3.org/2000/svg'>", b"\n <SVG>"],
    "an XML document": [b"<?xml version='1.0'?>"],
    "a Windows icon": [b"\x00\x00\x01\x00\x01\x00"],
    "a Photoshop document": [b"8BPS\x00\x01"],
    "a video": [b"\x00\x00\x00\x18ftypisom", b"\x00\x00\x00\x18ftypmp42"],
    "a QuickTime video": [b"\x00\x00\x00\x14ftypqt  "],
    "a camera raw file (CR3)": [b"\x00\x00\x00\x18ftypcrx "],
    "a camera raw file (RAF)": [b"FUJIFILMCCD-RAW 0201"],
    "a BigTIFF image": [b"II+\x00\x08\x00", b"MM\x00+\x00\x08"],
    "a ZIP archive": [b"PK\x03\x04\x14\x00"],
    "an HTML page": [b"<!DOCTYPE html><title>Sign in</title>", b"\xef\xbb\xbf\r\n<html>"],
    "JSON": [b'{"error": "login"}', b"[1]"],
    "compressed by gzip": [b"\x1f\x8b\x08\x00"],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, files in OTHERS.items() for data in files])
def test_a_file_that_is_no_photograph_is_named(kind: str, data: bytes) -> None:
    assert not is_image(data + bytes(100))
    with pytest.raises(UnsupportedImage, match=f"The file is {kind.replace('(', '.').replace(')', '.')}, which is not"):
        format_of(data + bytes(100))


def tiff(*entries: tuple[int, int, int]) -> bytes:
    """A TIFF file of a header and one directory of (tag, type, value)."""
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + fields + bytes(4)


SIZE = ((256, 4, 4000), (257, 4, 3000))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(*SIZE, (50706, 4, 1)), "camera raw file"),
        (tiff(*SIZE, (254, 4, 1), (330, 4, 1000)), "camera raw file"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(100), "camera raw file"),
        (tiff(*SIZE, (339, 3, 3)), "floating-point numbers"),
        (tiff(*SIZE, (259, 3, 34712)), "the compression 34712"),
        (tiff(*SIZE, (322, 4, 1), (323, 4, 1)), "more than 65536 tiles"),
    ],
)
def test_a_tiff_file_that_cannot_be_used_is_refused_by_its_tags(data: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedImage, match=reason):
        to_tensor(data, HOW, PIXELS)


def test_a_jpeg_that_lacks_only_its_end_marker_is_decoded() -> None:
    data = file(PICTURE, "JPEG", quality=90)

    for cut in (data[:-2], data[:-1]):
        assert np.array_equal(to_tensor(cut, HOW, PIXELS), to_tensor(data, HOW, PIXELS))
    with pytest.raises(DamagedImage):
        to_tensor(data[: len(data) * 9 // 10], HOW, PIXELS)


def test_a_progressive_jpeg_without_its_end_is_damaged() -> None:
    """Scans may be missing, which its pixels do not show."""
    with pytest.raises(DamagedImage):
        to_tensor(file(PICTURE, "JPEG", progressive=True)[:-2], HOW, PIXELS)


def test_a_tiled_tiff_file_is_decoded() -> None:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), "teal").save(out, "TIFF", tiffinfo={322: 64, 323: 64}, compression="tiff_lzw")

    assert to_tensor(out.getvalue(), HOW, PIXELS).shape == (224, 224, 3)
