"""Detects the format of an image file by its signature; file names and content types are not reliable."""

from enum import StrEnum

from shared.errors import UnsupportedImage


class Format(StrEnum):
    """The supported formats."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIF = "HEIF"


_SIGNATURES = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"II*\x00", Format.TIFF),
    (b"MM\x00*", Format.TIFF),
)

# Text may also start with "BM", so the size of the following header, which identifies the version, is checked too.
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})

# Brands of ISO/IEC 23008-12 (HEIF) and of AVIF. mif1 and msf1 only state that the file has the structure of HEIF, with
# any codec: the other compatible brands then determine the format.
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_CODEC = frozenset({b"mif1", b"msf1"})
_MAX_FTYP = 1024
_ISO_MEDIA = {
    b"crx ": "a camera raw file (CR3)",
    b"qt  ": "a QuickTime video",
    **dict.fromkeys(
        (b"isom", b"iso2", b"iso4", b"iso5", b"mp41", b"mp42", b"avc1", b"M4V ", b"3gp4", b"3gp5"), "a video"
    ),
}

# Files that people upload in place of a photograph; signatures of text are compared in lower case, after white space.
_OTHER_SIGNATURES = (
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"%PDF", "a PDF document"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"8BPS", "a Photoshop document"),
    (b"II+\x00", "a BigTIFF image"),
    (b"MM\x00+", "a BigTIFF image"),
    (b"IIU\x00", "a camera raw file (RW2)"),
    (b"FUJIFILMCCD-RAW", "a camera raw file (RAF)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_MAX_SIGNATURE, _WHITE_SPACE = 256, b"\xef\xbb\xbf \t\r\n"


def format_of(data: bytes) -> Format:
    """The format of an image file.

    Raises:
        UnsupportedImage: the file has no signature of a supported format.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Format.WEBP
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return Format.BMP
    if data[4:8] == b"ftyp":
        return _by_brands(data)
    raise UnsupportedImage(_unsupported(data))


def is_image(data: bytes) -> bool:
    """Whether the file has the signature of a supported format."""
    try:
        format_of(data)
    except UnsupportedImage:
        return False
    return True


def _unsupported(data: bytes) -> str:
    """What an unsupported file is, if it has a well-known signature."""
    start = data[:_MAX_SIGNATURE].lstrip(_WHITE_SPACE).lower()
    for signature, kind in _OTHER_SIGNATURES:
        if data.startswith(signature) or start.startswith(signature):
            return f"The file is {kind}, which is not supported."
    return "The file does not start with the signature of a supported image format."


def _by_brands(data: bytes) -> Format:
    """The format of an ISO base media file (ISO/IEC 14496-12, section 4.3): major brand, version, compatible brands."""
    size = min(int.from_bytes(data[:4], "big"), _MAX_FTYP)
    major = data[8:12]
    brands = {major, *(data[at : at + 4] for at in range(16, size, 4))}
    if major in _AVIF_BRANDS or (brands & _AVIF_BRANDS and major not in _HEIC_BRANDS):
        return Format.AVIF
    if brands & (_HEIC_BRANDS | _ANY_CODEC):
        return Format.HEIF
    raise UnsupportedImage(
        f"The file is {_ISO_MEDIA.get(major, 'an ISO media container without a HEIF or AVIF image')},"
        " which is not supported."
    )
