"""Opens an image file with the one decoder that its content asks for, within limits.

Each decoder is imported when the first file of its format comes. Pillow's own detection is not asked: it would import
every decoder it has, and warn about each that does not fit.
"""

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from shared.errors import DamagedImage, GatewayError, UnsupportedImage
from shared.scoring.images import jpeg, png, tiff
from shared.scoring.images.formats import Format
from shared.scoring.images.header import check_pixels

# The gateway's own limit (MAX_IMAGE_PIXELS) is checked before anything is decoded; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None

_DECODERS = {
    Format.PNG: ("PIL.PngImagePlugin", "PngImageFile"),
    Format.WEBP: ("PIL.WebPImagePlugin", "WebPImageFile"),
    Format.GIF: ("PIL.GifImagePlugin", "GifImageFile"),
    Format.BMP: ("PIL.BmpImagePlugin", "BmpImageFile"),
    Format.TIFF: ("PIL.TiffImagePlugin", "TiffImageFile"),
    Format.AVIF: ("PIL.AvifImagePlugin", "AvifImageFile"),
}
# Where the orientation is left to whoever shows the picture. Pillow itself turns TIFF; GIF and BMP have none. AVIF's
# own (irot, imir) comes from Pillow as if it were EXIF's; libheif follows HEIF's own, and opening settles the rest.
_TURNED_BY_EXIF = frozenset({Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.HEIF})
# The properties by which HEIF itself turns a picture stand near the file's beginning.
_HEIF_TURNS = (b"irot", b"imir")
_HEIF_PROPERTIES = 1_000_000

# Run-length coded BMP is decoded in Python: a second for ten million pixels, however short the file.
_MAX_RUN_LENGTH_PIXELS = 4_000_000
_RUN_LENGTH = frozenset({1, 2})  # BI_RLE8, BI_RLE4


class _Jpeg(JpegImageFile):
    """Leaves the metadata alone: Pillow would read all of it while opening, for the dots per inch."""

    def _read_dpi_from_exif(self) -> None:
        pass


@contextmanager
def blaming(detail: str) -> Iterator[None]:
    """Turn whatever a decoder raises into the file's fault.

    Decoders meet damage with nearly every exception there is (OSError, SyntaxError, ValueError, EOFError, IndexError,
    KeyError, TypeError, struct.error, OverflowError, ZeroDivisionError, RuntimeError, MemoryError for an impossible
    size, ...), so that a list of them would always lack one. Only calls into a decoder belong inside.

    Raises:
        DamagedImage: for anything but the gateway's own errors.
    """
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        raise DamagedImage(detail) from error


def opened(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
    """The picture, its header read and its size checked; not yet decoded.

    Raises:
        UnsupportedImage: the format's decoder is missing, or the file is of a rare kind.
        DamagedImage: the header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    _check_header(data, kind, max_pixels)
    open_it = _open_heif if kind is Format.HEIF else _open_by_pillow
    with blaming(f"The file begins as {kind}, but its header cannot be read."):
        image = open_it(data, kind, max_pixels)
    check_pixels(*image.size, max_pixels)
    return image


def orientation(image: Image.Image, kind: Format) -> int:
    """How a decoded picture still lies: 1 to 8, as in EXIF."""
    exif = image.info.get("exif") if kind in _TURNED_BY_EXIF else None
    return tiff.orientation(exif) if isinstance(exif, bytes) else 1


def _check_header(data: bytes, kind: Format, max_pixels: int) -> None:
    """What must be known before a decoder sees the file, since it would already spend memory or time on opening it."""
    if kind is Format.JPEG:
        jpeg_header = jpeg.read(data)
        check_pixels(jpeg_header.width, jpeg_header.height, max_pixels)
    elif kind is Format.PNG:
        png_header = png.read(data)
        check_pixels(png_header.width, png_header.height, max_pixels)
    elif kind is Format.WEBP:
        check_pixels(*_webp_canvas(data), max_pixels)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height (RFC 9649, sections 2.5 to 2.7): opening already sets aside memory for two whole frames."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    return width & 0x3FFF, height & 0x3FFF


def _open_by_pillow(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
    if kind is Format.JPEG:
        return _Jpeg(io.BytesIO(data))
    module, name = _DECODERS[kind]
    decoder: type[ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    image = decoder(io.BytesIO(data))
    if kind is Format.BMP and image.info.get("compression") in _RUN_LENGTH:
        _check_run_length(image, max_pixels)
    return image


def _check_run_length(image: Image.Image, max_pixels: int) -> None:
    check_pixels(*image.size, max_pixels)
    if image.width * image.height > _MAX_RUN_LENGTH_PIXELS:
        raise UnsupportedImage(
            f"A run-length coded BMP of {image.width} x {image.height} pixels; {_MAX_RUN_LENGTH_PIXELS} are read."
        )


def _open_heif(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
    """The primary picture; libheif refuses one that is larger than its header says.

    HEIF has properties for its orientation, which libheif follows, and phones repeat it in EXIF, where it is not to be
    followed again (ISO/IEC 23008-12, annex A). Only converters that know no better write it in EXIF alone.
    """
    try:
        import pillow_heif  # noqa: PLC0415 - 90 ms that only phones' HEIC photographs are worth

        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    except ImportError as error:  # on the first use, where its compiled part does not load
        raise UnsupportedImage(
            f"{kind} is not read here, since the gateway's package pillow-heif is missing or does not load."
        ) from error
    width, height = file.size
    check_pixels(width, height, max_pixels)
    image = file.to_pillow()
    image.info["exif"] = file.info.get("exif")  # to_pillow() makes it say "upright"
    if any(data.find(name, 0, _HEIF_PROPERTIES) >= 0 for name in _HEIF_TURNS):
        del image.info["exif"]
    return image
