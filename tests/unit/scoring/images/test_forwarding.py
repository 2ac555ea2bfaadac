"""Which files are forwarded unchanged, and how formats and headers are read."""

import io
import struct

import pytest
from PIL import Image

from benchmarks.photographs.formats import BYTES, PIXELS, deep_png, file, oriented, plain, png, transparent, ycck
from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.scoring.images import Format, format_of, forwardable, to_tensor
from shared.settings import Preprocessing
from tests.support.icc_profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, SRGB, grey_profile, rgb_profile

TINY = Preprocessing(size=8, resize=8)
SMALL = plain("coffee").resize((48, 32))


def jpeg(**options: object) -> bytes:
    return file(SMALL, "JPEG", **options)


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with an additional segment after its first marker."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


FORWARDABLE = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "grey JPEG": file(SMALL.convert("L"), "JPEG"),
    "4:2:0": jpeg(subsampling=2),
    "restart markers": jpeg(restart_marker_rows=1),
    "JPEG with sRGB": jpeg(icc_profile=rgb_profile(SRGB)),
    "JPEG with Display P3": jpeg(icc_profile=rgb_profile(DISPLAY_P3)),
    "JPEG with Adobe RGB": jpeg(icc_profile=rgb_profile(ADOBE_RGB, 2.2)),
    "grey JPEG with a profile": file(SMALL.convert("L"), "JPEG", icc_profile=grey_profile(2.2)),
    "JPEG with the orientation 1": oriented(SMALL, 1, "JPEG"),
    "JPEG with a comment": jpeg(comment=b"\xff\xda" * 500),
    "JPEG with padding": b"\xff\xd8\xff\xff\xff" + jpeg()[2:],
    "JPEG with trailing bytes": jpeg() + b"more",
    "PNG": file(SMALL, "PNG"),
    "palette PNG": file(SMALL.quantize(16), "PNG"),
    "grey PNG": file(SMALL.convert("L"), "PNG"),
    "PNG of one bit": file(SMALL.convert("1"), "PNG"),
    "PNG with Display P3": file(SMALL, "PNG", icc_profile=rgb_profile(DISPLAY_P3)),
}

NOT_FORWARDABLE = {
    "CMYK": file(SMALL.convert("CMYK"), "JPEG"),
    "YCCK": ycck(SMALL),
    "rotated JPEG": oriented(SMALL, 6, "JPEG"),
    "JPEG with ProPhoto RGB": jpeg(icc_profile=rgb_profile(PROPHOTO, 1.8)),
    "JPEG with a linear curve": jpeg(icc_profile=rgb_profile(SRGB, 1.0)),
    "JPEG with an invalid profile": jpeg(icc_profile=b"no profile"),
    "JPEG with a profile in several segments": jpeg(icc_profile=rgb_profile(SRGB) + bytes(70_000)),
    "very long JPEG": file(Image.new("RGB", (900, 100)), "JPEG"),
    "PNG with alpha": file(transparent(SMALL), "PNG"),
    "PNG with a transparent colour": file(SMALL.quantize(16), "PNG", transparency=3),
    "PNG of sixteen bits": deep_png(SMALL),
    "rotated PNG": oriented(SMALL, 3, "PNG"),
    "PNG with a linear curve": file(SMALL, "PNG", icc_profile=rgb_profile(SRGB, 1.0)),
    "PNG without its end": file(SMALL, "PNG")[:-12],
    "WebP": file(SMALL, "WEBP"),
    "GIF": file(SMALL, "GIF"),
    "BMP": file(SMALL, "BMP"),
    "TIFF": file(SMALL, "TIFF"),
    "AVIF": file(SMALL, "AVIF"),
    "HEIC": file(SMALL, "HEIF"),
}


@pytest.mark.parametrize("name", FORWARDABLE)
def test_files_that_every_decoder_renders_alike_are_forwardable(name: str) -> None:
    assert forwardable(FORWARDABLE[name], PIXELS, BYTES)


@pytest.mark.parametrize("name", NOT_FORWARDABLE)
def test_files_that_decoders_reject_or_render_differently_are_not_forwardable(name: str) -> None:
    assert not forwardable(NOT_FORWARDABLE[name], PIXELS, BYTES)


def test_files_that_are_too_large_for_a_message_are_not_forwardable() -> None:
    assert forwardable(jpeg(), PIXELS, len(jpeg()))
    assert not forwardable(jpeg(), PIXELS, len(jpeg()) - 1)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (jpeg(), Format.JPEG),
        (file(SMALL, "PNG"), Format.PNG),
        (file(SMALL, "WEBP"), Format.WEBP),
        (file(SMALL, "GIF"), Format.GIF),
        (file(SMALL, "BMP"), Format.BMP),
        (file(SMALL, "TIFF"), Format.TIFF),
        (b"MM\x00*" + bytes(8), Format.TIFF),
        (file(SMALL, "AVIF"), Format.AVIF),
        (file(SMALL, "HEIF"), Format.HEIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Format.HEIF),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Format.AVIF),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1avif", Format.HEIF),
    ],
)
def test_the_format_is_detected_by_the_signature(data: bytes, kind: Format) -> None:
    assert format_of(data) is kind


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"GIF88a......",
        b"\xff\xd8",
        b"<svg/>",
        b"BMW and other letters of a text",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        b"\0\0\0\x20ftypisom\0\0\0\0isomiso2avc1mp41",
        b"%PDF-1.7",
    ],
)
def test_other_content_is_rejected(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        forwardable(data, PIXELS, BYTES)
    assert "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC" in str(caught.value.remedy)


def test_only_the_first_exif_segment_gives_the_orientation() -> None:
    upright, rotated = oriented(SMALL, 1, "JPEG"), oriented(SMALL, 6, "JPEG")
    exif = rotated[rotated.index(b"Exif") :][:40]

    assert forwardable(with_segment(upright, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + exif), PIXELS, BYTES)
    assert not forwardable(with_segment(upright, 0xE1, exif), PIXELS, BYTES)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\x06\0\0\0",
    ],
    ids=["empty", "offset out of bounds", "truncated", "invalid orientation", "wrong type"],
)
def test_invalid_metadata_means_upright(exif: bytes) -> None:
    data = with_segment(jpeg(), 0xE1, exif)

    assert forwardable(data, PIXELS, BYTES)
    to_tensor(data, TINY, PIXELS)


DAMAGED = {
    "truncated": jpeg()[:20],
    "empty": b"\xff\xd8\xff\xd9",
    "endless padding": b"\xff\xd8" + b"\xff" * 100_000,
    "endless junk": b"\xff\xd8\xff\xe0\x00\x02" + bytes(100_000),
    "endless segments": b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5000 + jpeg()[2:],
    "scan without a frame": b"\xff\xd8\xff\xda" + bytes(20),
    "truncated PNG": file(SMALL, "PNG")[:30],
    "empty PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "endless chunks": png((8, 8), 8, 0, bytes(72), *[(b"tEXt", b"")] * 20_000),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_an_invalid_header_is_damaged(name: str) -> None:
    with pytest.raises(DamagedImage):
        forwardable(DAMAGED[name], PIXELS, BYTES)
    with pytest.raises(DamagedImage):
        to_tensor(DAMAGED[name], TINY, PIXELS)


def test_the_number_of_scans_is_limited() -> None:
    data = jpeg(progressive=True)
    start = data.index(b"\xff\xda")
    scan = data[start : data.index(b"\xff", start + 12)]
    many = data[:-2] + scan * 200 + data[-2:]

    with pytest.raises(DamagedImage, match="more than 100 scans"):
        forwardable(many, PIXELS, BYTES)


def test_the_size_is_checked_in_both_forwardable_formats() -> None:
    for data in (jpeg(), file(SMALL, "PNG")):
        assert forwardable(data, 48 * 32, BYTES)
        with pytest.raises(ImageTooLarge, match="48 x 32 pixels; 1535 are allowed"):
            forwardable(data, 48 * 32 - 1, BYTES)


def test_the_image_data_of_a_forwardable_file_is_not_decoded() -> None:
    data = file(SMALL, "PNG")
    broken = data[:60] + bytes(50) + data[110:]

    assert forwardable(broken, PIXELS, BYTES)
    with pytest.raises(OSError, match="broken data stream"), Image.open(io.BytesIO(broken)) as image:
        image.load()
