"""Which files go to a service as they came, and what the headers are trusted with."""

import io
import struct

import pytest
from PIL import Image

from benchmarks.photographs import ENOUGH, ROOM, deep_png, file, lying, plain, png, transparent, ycck
from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.scoring.images import Format, format_of, forwardable, to_tensor
from shared.settings import Preprocessing
from tests.shared.scoring.profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, SRGB, grey_profile, rgb_profile

TINY = Preprocessing(size=8, resize=8)
SMALL = plain("coffee").resize((48, 32))


def jpeg(**options: object) -> bytes:
    return file(SMALL, "JPEG", **options)


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment behind its first marker."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


AS_THEY_CAME = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "grey JPEG": file(SMALL.convert("L"), "JPEG"),
    "4:2:0": jpeg(subsampling=2),
    "restart markers": jpeg(restart_marker_rows=1),
    "JPEG with sRGB": jpeg(icc_profile=rgb_profile(SRGB)),
    "JPEG with Display P3": jpeg(icc_profile=rgb_profile(DISPLAY_P3)),
    "JPEG with Adobe RGB": jpeg(icc_profile=rgb_profile(ADOBE_RGB, 2.2)),
    "grey JPEG with a profile": file(SMALL.convert("L"), "JPEG", icc_profile=grey_profile(2.2)),
    "upright JPEG that says so": lying(SMALL, 1, "JPEG"),
    "JPEG with a comment": jpeg(comment=b"\xff\xda" * 500),
    "JPEG with padding": b"\xff\xd8\xff\xff\xff" + jpeg()[2:],
    "JPEG with bytes behind it": jpeg() + b"more",
    "PNG": file(SMALL, "PNG"),
    "palette PNG": file(SMALL.quantize(16), "PNG"),
    "grey PNG": file(SMALL.convert("L"), "PNG"),
    "PNG of one bit": file(SMALL.convert("1"), "PNG"),
    "PNG with Display P3": file(SMALL, "PNG", icc_profile=rgb_profile(DISPLAY_P3)),
}

MADE_ANEW = {
    "CMYK": file(SMALL.convert("CMYK"), "JPEG"),
    "YCCK": ycck(SMALL),
    "JPEG on its side": lying(SMALL, 6, "JPEG"),
    "JPEG with ProPhoto RGB": jpeg(icc_profile=rgb_profile(PROPHOTO, 1.8)),
    "JPEG with a linear curve": jpeg(icc_profile=rgb_profile(SRGB, 1.0)),
    "JPEG with a broken profile": jpeg(icc_profile=b"no profile"),
    "JPEG with a profile in pieces": jpeg(icc_profile=rgb_profile(SRGB) + bytes(70_000)),
    "very long JPEG": file(Image.new("RGB", (900, 100)), "JPEG"),
    "PNG with alpha": file(transparent(SMALL), "PNG"),
    "PNG with a transparent colour": file(SMALL.quantize(16), "PNG", transparency=3),
    "PNG of sixteen bits": deep_png(SMALL),
    "PNG on its side": lying(SMALL, 3, "PNG"),
    "PNG with a linear curve": file(SMALL, "PNG", icc_profile=rgb_profile(SRGB, 1.0)),
    "PNG without its end": file(SMALL, "PNG")[:-12],
    "WebP": file(SMALL, "WEBP"),
    "GIF": file(SMALL, "GIF"),
    "BMP": file(SMALL, "BMP"),
    "TIFF": file(SMALL, "TIFF"),
    "AVIF": file(SMALL, "AVIF"),
    "HEIC": file(SMALL, "HEIF"),
}


@pytest.mark.parametrize("name", AS_THEY_CAME)
def test_what_every_decoder_shows_alike_goes_as_it_came(name: str) -> None:
    assert forwardable(AS_THEY_CAME[name], ENOUGH, ROOM)


@pytest.mark.parametrize("name", MADE_ANEW)
def test_what_decoders_refuse_or_show_otherwise_is_made_anew(name: str) -> None:
    assert not forwardable(MADE_ANEW[name], ENOUGH, ROOM)


def test_what_is_too_long_for_a_message_is_made_anew() -> None:
    assert forwardable(jpeg(), ENOUGH, len(jpeg()))
    assert not forwardable(jpeg(), ENOUGH, len(jpeg()) - 1)


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
def test_the_content_decides_the_format(data: bytes, kind: Format) -> None:
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
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        forwardable(data, ENOUGH, ROOM)
    assert "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC" in str(caught.value.remedy)


def test_a_thumbnails_orientation_and_a_second_exif_are_not_the_pictures() -> None:
    upright, turned = lying(SMALL, 1, "JPEG"), lying(SMALL, 6, "JPEG")
    exif = turned[turned.index(b"Exif") :][:40]

    assert forwardable(with_segment(upright, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + exif), ENOUGH, ROOM)
    assert not forwardable(with_segment(upright, 0xE1, exif), ENOUGH, ROOM)  # the first counts


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\x06\0\0\0",
    ],
    ids=["empty", "points outside", "cut short", "no such orientation", "of another type"],
)
def test_broken_metadata_leaves_the_picture_upright(exif: bytes) -> None:
    data = with_segment(jpeg(), 0xE1, exif)

    assert forwardable(data, ENOUGH, ROOM)
    to_tensor(data, TINY, ENOUGH)


@pytest.mark.parametrize(
    "data",
    [
        jpeg()[:20],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 100_000,
        b"\xff\xd8\xff\xe0\x00\x02" + bytes(100_000),
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5000 + jpeg()[2:],
        b"\xff\xd8\xff\xda" + bytes(20),
        file(SMALL, "PNG")[:30],
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        png((8, 8), 8, 0, bytes(72), *[(b"tEXt", b"")] * 20_000),
    ],
    ids=[
        "cut short",
        "empty",
        "padding without end",
        "junk without end",
        "segments without end",
        "scan without frame",
        "cut short PNG",
        "empty PNG",
        "chunks without end",
    ],
)
def test_a_header_that_no_encoder_writes_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedImage):
        forwardable(data, ENOUGH, ROOM)
    with pytest.raises(DamagedImage):
        to_tensor(data, TINY, ENOUGH)


def test_scans_are_counted_since_each_costs_a_pass_over_the_picture() -> None:
    data = jpeg(progressive=True)
    start = data.index(b"\xff\xda")
    scan = data[start : data.index(b"\xff", start + 12)]
    many = data[:-2] + scan * 200 + data[-2:]

    with pytest.raises(DamagedImage, match="more than 100 scans"):
        forwardable(many, ENOUGH, ROOM)


def test_pixels_are_counted_in_the_header_of_both_formats_that_are_forwarded() -> None:
    for data in (jpeg(), file(SMALL, "PNG")):
        assert forwardable(data, 48 * 32, ROOM)
        with pytest.raises(ImageTooLarge, match="48 x 32 pixels; 1535 are allowed"):
            forwardable(data, 48 * 32 - 1, ROOM)


def test_nothing_of_a_forwarded_file_is_decoded() -> None:
    data = jpeg(quality=95)
    broken = data[: data.index(b"\xff\xda") + 30] + bytes(50)

    assert forwardable(broken, ENOUGH, ROOM)
    with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(broken)) as image:
        image.load()
