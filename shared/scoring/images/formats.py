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
    raise UnsupportedImage("The file does not start with the signature of a supported image format.")


def _by_brands(data: bytes) -> Format:
    """The format of an ISO base media file (ISO/IEC 14496-12, section 4.3): major brand, version, compatible brands."""
    size = min(int.from_bytes(data[:4], "big"), _MAX_FTYP)
    major = data[8:12]
    brands = {major, *(data[at : at + 4] for at in range(16, size, 4))}
    if major in _AVIF_BRANDS or (brands & _AVIF_BRANDS and major not in _HEIC_BRANDS):
        return Format.AVIF
    if brands & (_HEIC_BRANDS | _ANY_CODEC):
        return Format.HEIF
    raise UnsupportedImage("The file is an ISO media container without a HEIF or AVIF image.")
