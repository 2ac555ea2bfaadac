"""What is forwarded has no metadata: no position, serial number, thumbnail or comment, and the same pixels."""

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import IFDRational

from benchmarks.photographs.formats import BYTES, PIXELS, adam7_png, file, formats, plain
from shared.scoring.images import Format, forwardable, to_file
from shared.scoring.images.metadata import without_metadata
from shared.scoring.images.segments import segments
from shared.settings import Preprocessing
from tests.support.icc_profiles import DISPLAY_P3, SRGB, rgb_profile

PRIVATE = b"PRIVATE"
PICTURE = plain("coffee").resize((120, 80))
JPEGS = {
    "baseline": file(PICTURE, "JPEG"),
    "progressive": file(PICTURE, "JPEG", progressive=True),
    "4:2:0 with restart markers": file(PICTURE, "JPEG", subsampling=2, restart_marker_blocks=3),
    "grey": file(PICTURE.convert("L"), "JPEG"),
    "of RGB components, by Adobe's segment": file(PICTURE, "JPEG", keep_rgb=True),
    "with a profile": file(PICTURE, "JPEG", icc_profile=rgb_profile(DISPLAY_P3)),
}
PNGS = {
    "RGB": file(PICTURE, "PNG"),
    "palette": file(PICTURE.quantize(16), "PNG"),
    "grey": file(PICTURE.convert("L"), "PNG"),
    "interlaced": adam7_png(PICTURE),
    "with a profile": file(PICTURE, "PNG", icc_profile=rgb_profile(SRGB)),
}


def exif() -> bytes:
    """Position, serial number, description and thumbnail, as a camera writes them; upright."""
    data = Image.Exif()
    data[0x0112] = 1
    data[0x010E] = "PRIVATE description"
    data.get_ifd(0x8769)[0xA431] = "PRIVATE serial number"
    data.get_ifd(0x8769)[0x927C] = b"PRIVATE maker note"
    data.get_ifd(0x8825).update({1: "N", 2: (IFDRational(48), IFDRational(8), IFDRational(14)), 29: "PRIVATE date"})
    return data.tobytes() + b"PRIVATE thumbnail" + file(PICTURE.resize((16, 16)), "JPEG")


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


JPEG_METADATA = {
    "EXIF": segment(0xE1, exif()),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>PRIVATE</x:xmpmeta>"),
    "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + PRIVATE),
    "IPTC": segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0bPRIVATE"),
    "multi-picture index": segment(0xE2, b"MPF\0II*\0" + PRIVATE),
    "comment": segment(0xFE, b"PRIVATE comment"),
    "thumbnail of JFIF": segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\x02\x02PRIVATE....."),
    "thumbnail of JFXX": segment(0xE0, b"JFXX\0\x10" + PRIVATE),
    "content credentials": segment(0xEB, b"JP\0\0PRIVATE"),
    "unknown": segment(0xEF, PRIVATE),
    "markers within a body": segment(0xFE, b"\xff\xd9\xff\xda\0\x02PRIVATE\xff\xe1"),
}
TRAILERS = {
    "nothing": b"",
    "a motion photograph's video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + PRIVATE,
    "a second image": JPEGS["baseline"] + PRIVATE + b"\xff\xd9",
    "a maker's trailer": b"PRIVATE SEFH" + bytes(20) + b"SEFT",
}
PNG_METADATA = {
    "EXIF": chunk(b"eXIf", exif()[6:]),
    "text": chunk(b"tEXt", b"Comment\0PRIVATE"),
    "compressed text": chunk(b"zTXt", b"PRIVATE\0\0" + zlib.compress(PRIVATE)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0PRIVATE"),
    "time": chunk(b"tIME", b"PRIVATE"),
    "private": chunk(b"prVt", PRIVATE),
}


def boundaries(data: bytes) -> list[int]:
    """Where a JPEG may have further segments: before each of its own, after the first marker."""
    return [start for _, start, _ in segments(data)]


def chunk_boundaries(data: bytes) -> list[int]:
    places, at = [], 33
    while at < len(data):
        places.append(at)
        at += 12 + int.from_bytes(data[at : at + 4])
    return places


def inserted(data: bytes, additions: list[tuple[int, bytes]]) -> bytes:
    for at, addition in sorted(additions, reverse=True):
        data = data[:at] + addition + data[at:]
    return data


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    with opened(data) as image:
        return np.asarray(image.convert("RGB"))


def opened(data: bytes) -> Image.Image:
    """By the format's own decoder: Pillow's detection would follow an index of several pictures."""
    return (JpegImageFile if data.startswith(b"\xff\xd8") else PngImageFile)(io.BytesIO(data))


def assert_clean(data: bytes, original: bytes) -> None:
    assert PRIVATE not in data
    np.testing.assert_array_equal(pixels(data), pixels(original))
    with opened(data) as image, opened(original) as before:
        assert not dict(image.getexif())
        assert not {"exif", "xmp", "comment", "photoshop", "mp"} & set(image.info)
        assert image.info.get("icc_profile") == before.info.get("icc_profile")
        assert image.getbands() == before.getbands()


@pytest.mark.parametrize("metadata", JPEG_METADATA)
@pytest.mark.parametrize("name", JPEGS)
def test_each_kind_of_metadata_is_removed_from_a_jpeg_wherever_it_is(name: str, metadata: str) -> None:
    data = JPEGS[name]
    for at in boundaries(data):
        private = inserted(data, [(at, JPEG_METADATA[metadata])])
        clean = without_metadata(private, Format.JPEG, BYTES)

        assert clean is not None
        assert_clean(clean, private)


@pytest.mark.parametrize("metadata", PNG_METADATA)
@pytest.mark.parametrize("name", PNGS)
def test_each_kind_of_metadata_is_removed_from_a_png_wherever_it_is(name: str, metadata: str) -> None:
    data = PNGS[name]
    for at in chunk_boundaries(data):
        private = inserted(data, [(at, PNG_METADATA[metadata])])
        clean = without_metadata(private, Format.PNG, BYTES)

        assert clean is not None
        assert_clean(clean, private)


@given(st.data())
def test_any_mixture_of_metadata_is_removed(draw: st.DataObject) -> None:
    kind = draw.draw(st.sampled_from([Format.JPEG, Format.PNG]))
    files, pieces, places = (
        (JPEGS, JPEG_METADATA, boundaries) if kind is Format.JPEG else (PNGS, PNG_METADATA, chunk_boundaries)
    )
    data = files[draw.draw(st.sampled_from(sorted(files)))]
    some = st.tuples(st.sampled_from(places(data)), st.sampled_from(sorted(pieces)).map(pieces.__getitem__))
    additions = draw.draw(st.lists(some, max_size=6))
    trailer = TRAILERS[draw.draw(st.sampled_from(sorted(TRAILERS)))]

    private = inserted(data, additions) + trailer
    clean = without_metadata(private, kind, BYTES)

    assert clean is not None
    assert_clean(clean, private)


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize(("kind", "name"), [*itertools.product(["JPEG"], JPEGS), *itertools.product(["PNG"], PNGS)])
def test_what_follows_the_image_is_cut_off(kind: str, name: str, trailer: str) -> None:
    data = (JPEGS if kind == "JPEG" else PNGS)[name]

    clean = without_metadata(data + TRAILERS[trailer], Format(kind), BYTES)

    assert clean is not None
    assert_clean(clean, data)


def test_a_file_without_metadata_is_not_copied() -> None:
    for data, kind in ((JPEGS["baseline"], Format.JPEG), (PNGS["RGB"], Format.PNG)):
        assert without_metadata(data, kind, BYTES) is data


def test_an_animation_becomes_its_first_image() -> None:
    frames = {"save_all": True, "append_images": [Image.new("RGB", PICTURE.size)]}

    clean = without_metadata(file(PICTURE, "PNG", **frames), Format.PNG, BYTES)

    assert clean is not None
    assert_clean(clean, PNGS["RGB"])
    assert b"fdAT" not in clean


@given(st.sampled_from([Format.JPEG, Format.PNG]), st.data())
def test_a_malformed_file_is_left_to_its_decoder_or_keeps_its_pixels(kind: Format, draw: st.DataObject) -> None:
    """None, or a file of the same pixels where a decoder finds any; damage may have been in what was removed."""
    files = JPEGS if kind is Format.JPEG else PNGS
    data = bytearray(files[draw.draw(st.sampled_from(sorted(files)))])
    for at, value in draw.draw(st.lists(st.tuples(st.integers(2, 700), st.integers(0, 255)), min_size=1, max_size=4)):
        data[at] = value
    end = draw.draw(st.one_of(st.none(), st.integers(2, len(data))))
    broken = bytes(data[:end])

    clean = without_metadata(broken, kind, BYTES)

    if clean is not None and (expected := outcome(broken)) is not None:
        assert outcome(clean) == expected


def outcome(data: bytes) -> bytes | None:
    try:
        return pixels(data).tobytes()
    except Exception:
        return None


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    for start, kind in ((b"\xff\xd8\xff", Format.JPEG), (PNGS["RGB"][:33], Format.PNG)):
        without_metadata(start + data, kind, BYTES)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (JPEGS["baseline"][:-2], Format.JPEG),
        (JPEGS["progressive"][:-2], Format.JPEG),
        (JPEGS["baseline"][:2] + segment(0xE1, b"")[:3] + b"\x00" + JPEGS["baseline"][2:], Format.JPEG),
        (JPEGS["baseline"][:2] + b"junk" + JPEGS["baseline"][2:], Format.JPEG),
        (JPEGS["baseline"][:2] + segment(0xC8, b"reserved") + JPEGS["baseline"][2:], Format.JPEG),
        (JPEGS["baseline"][:-2] + segment(0xFE, b"") * 10_001 + b"\xff\xd9", Format.JPEG),
        (PNGS["RGB"][:-12], Format.PNG),
        (PNGS["RGB"][:33] + chunk(b"CrIt", b"") + PNGS["RGB"][33:], Format.PNG),
        (PNGS["RGB"][:33] + chunk(b"tEXt", b"") * 10_001 + PNGS["RGB"][33:], Format.PNG),
    ],
)
def test_truncated_and_irregular_files_are_left_to_the_decoder(data: bytes, kind: Format) -> None:
    assert without_metadata(data, kind, BYTES) is None


def test_metadata_is_kept_where_the_settings_say_so() -> None:
    data = file(PICTURE, "JPEG", exif=exif(), comment=PRIVATE) + TRAILERS["a second image"]

    assert forwardable(data, PIXELS, BYTES, keep_metadata=True) is data
    assert forwardable(data, PIXELS, BYTES) == JPEGS["baseline"]


def test_the_size_is_compared_without_metadata() -> None:
    data = JPEGS["baseline"] + bytes(100_000)

    assert forwardable(data, PIXELS, len(JPEGS["baseline"])) == JPEGS["baseline"]
    assert forwardable(data, PIXELS, len(data) - 1, keep_metadata=True) is None


def test_a_file_of_which_too_much_would_have_to_be_removed_is_not_searched() -> None:
    data = JPEGS["baseline"]

    assert without_metadata(data + bytes(16_000_000), Format.JPEG, len(data)) == data
    assert without_metadata(data + bytes(16_000_001), Format.JPEG, len(data)) is None


WRITERS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: file(PICTURE, "JPEG", exif=exif(), xmp=PRIVATE, comment=PRIVATE),
    "PNG": lambda: file(PICTURE, "PNG", exif=exif()),
    "WebP": lambda: file(PICTURE, "WEBP", exif=exif(), xmp=PRIVATE),
    "GIF": lambda: file(PICTURE, "GIF", comment=PRIVATE),
    "BMP": lambda: file(PICTURE, "BMP") + PRIVATE,
    "TIFF": lambda: file(PICTURE, "TIFF", description="PRIVATE", software="PRIVATE"),
    "AVIF": lambda: file(PICTURE, "AVIF", exif=exif(), xmp=PRIVATE),
    "HEIC": lambda: file(PICTURE, "HEIF", exif=exif(), xmp=PRIVATE),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_encoded_again_has_no_metadata(name: str) -> None:
    data = WRITERS[name]()
    assert PRIVATE in data
    as_png = to_file(data, Preprocessing(), PIXELS, BYTES)
    as_jpeg = to_file(data, Preprocessing(), PIXELS, len(as_png) - 1)

    for kind, encoded in (("PNG", as_png), ("JPEG", as_jpeg)):
        assert PRIVATE not in encoded
        with Image.open(io.BytesIO(encoded)) as image:
            assert image.format == kind
            assert not dict(image.getexif())
            assert not {"comment", "xmp", "exif", "icc_profile"} & set(image.info)


@pytest.mark.parametrize("name", formats())
def test_of_every_format_what_is_forwarded_has_the_same_pixels(name: str) -> None:
    data = formats()[name](PICTURE)
    clean = forwardable(data, PIXELS, BYTES)

    if clean is not None:
        np.testing.assert_array_equal(pixels(clean), pixels(data))


def test_of_adobe_s_segment_what_says_the_colours_stays() -> None:
    image = JPEGS["baseline"]
    colours = b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 0])

    def without(body: bytes) -> bytes | None:
        return without_metadata(image[:2] + segment(0xEE, body) + image[2:], Format.JPEG, BYTES)

    plain_image = without_metadata(image, Format.JPEG, BYTES)
    assert plain_image is not None
    kept = plain_image[:2] + segment(0xEE, colours) + plain_image[2:]
    assert without(colours) == kept
    assert without(colours + PRIVATE) == kept
    assert without(colours[:-1]) == plain_image, "too short to say anything"
    assert without(b"Other" + colours[5:]) == plain_image


def test_the_number_of_lines_stays() -> None:
    image = JPEGS["baseline"]
    with_lines = image[:-2] + segment(0xDC, b"\0\x10") + image[-2:]
    clean = without_metadata(image[:2] + segment(0xFE, PRIVATE) + with_lines[2:], Format.JPEG, BYTES)

    assert clean is not None
    assert clean == without_metadata(with_lines, Format.JPEG, BYTES)
    assert segment(0xDC, b"\0\x10") in clean
