"""Opens an image file with the decoder of its format, within limits.

Each decoder is imported with the first file of its format. Pillow's own detection is not used: it would import all of
its decoders, and warn about each that does not match.
"""

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from shared.errors import DamagedImage, GatewayError, UnsupportedImage
from shared.scoring.images import jpeg, png, tiff
from shared.scoring.images.cost import size
from shared.scoring.images.formats import Format
from shared.scoring.images.header import check_pixels

# The gateway's own limit (MAX_IMAGE_PIXELS) is checked before decoding; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None

_DECODERS = {
    Format.PNG: ("PIL.PngImagePlugin", "PngImageFile"),
    Format.WEBP: ("PIL.WebPImagePlugin", "WebPImageFile"),
    Format.GIF: ("PIL.GifImagePlugin", "GifImageFile"),
    Format.BMP: ("PIL.BmpImagePlugin", "BmpImageFile"),
    Format.TIFF: ("PIL.TiffImagePlugin", "TiffImageFile"),
    Format.AVIF: ("PIL.AvifImagePlugin", "AvifImageFile"),
}
# Formats whose orientation the decoder does not apply. Pillow applies that of TIFF; GIF and BMP have none. Pillow
# returns AVIF's properties (irot, imir) as EXIF; libheif applies HEIF's, see :func:`_open_heif`.
_ORIENTED_BY_EXIF = frozenset({Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.HEIF})
# HEIF's properties for rotation and mirroring, and the part of the file in which they are searched.
_HEIF_TRANSFORMS = (b"irot", b"imir")
_HEIF_SEARCH_BYTES = 1_000_000

# Run-length encoded BMP is decoded in Python: a second for ten million pixels, however short the file.
_MAX_RUN_LENGTH_PIXELS = 4_000_000
_RUN_LENGTH = frozenset({1, 2})  # BI_RLE8, BI_RLE4


class _Jpeg(JpegImageFile):
    """Does not parse EXIF: Pillow would read all of it on opening, to find the resolution in dots per inch."""

    def _read_dpi_from_exif(self) -> None:
        pass


@contextmanager
def decoder_errors(detail: str) -> Iterator[None]:
    """Convert any exception of a decoder to ``DamagedImage``.

    For damaged files, decoders raise almost any exception (OSError, SyntaxError, ValueError, EOFError, IndexError,
    KeyError, TypeError, struct.error, OverflowError, ZeroDivisionError, RuntimeError, MemoryError for an impossible
    size, ...), so a list of them would be incomplete. Only calls into a decoder belong in this context.

    Raises:
        DamagedImage: for everything but the gateway's own errors.
    """
    try:
        yield
    except GatewayError:
        raise
    except Exception as error:
        raise DamagedImage(detail) from error


def opened(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
    """The image, with its header read and its size checked, but not yet decoded.

    Raises:
        UnsupportedImage: the format's decoder is missing, or the file uses an unsupported variant of the format.
        DamagedImage: the header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    _check_header(data, kind, max_pixels)
    open_file = _open_heif if kind is Format.HEIF else _open_with_pillow
    with decoder_errors(f"The file has a {kind} signature, but its header cannot be read."):
        image = open_file(data, kind, max_pixels)
    check_pixels(*image.size, max_pixels)
    return image


def loaded(image: Image.Image, kind: Format) -> Image.Image:
    """The image, decoded; errors are the decoder's own.

    Pillow's WebP decoder would copy the pixels once more, while it still holds two canvases of its own.
    """
    if kind is not Format.WEBP:
        image.load()
        return image
    frame = image._decoder.get_next()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    if frame is None:
        raise EOFError("failed to decode the first frame")
    del image._decoder  # type: ignore[attr-defined]  # noqa: SLF001
    mode = image.rawmode  # type: ignore[attr-defined]
    decoded = Image.frombuffer(mode, image.size, frame[0], "raw", mode, 0, 1)
    decoded.info = image.info
    return decoded


def orientation(image: Image.Image, kind: Format) -> int:
    """The orientation that is still to be applied to a decoded image: 1 to 8, as in EXIF."""
    exif = image.info.get("exif") if kind in _ORIENTED_BY_EXIF else None
    return tiff.orientation(exif) if isinstance(exif, bytes) else 1


def _check_header(data: bytes, kind: Format, max_pixels: int) -> None:
    """Check the size before opening, where the decoder would already use memory or time for opening the file."""
    if kind is Format.JPEG:
        jpeg_header = jpeg.read(data)
        check_pixels(jpeg_header.width, jpeg_header.height, max_pixels)
    elif kind is Format.PNG:
        png_header = png.read(data)
        check_pixels(png_header.width, png_header.height, max_pixels)
    elif kind is Format.WEBP:
        check_pixels(*size(data, kind), max_pixels)
    elif kind is Format.TIFF and (reason := tiff.unsupported(data)):
        raise UnsupportedImage(reason)


def _open_with_pillow(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
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
            f"The run-length encoded BMP has {image.width} x {image.height} pixels;"
            f" {_MAX_RUN_LENGTH_PIXELS} are allowed."
        )


def _open_heif(data: bytes, kind: Format, max_pixels: int) -> Image.Image:
    """Open the primary image; libheif rejects one that is larger than its header states.

    HEIF has properties for the orientation, which libheif applies. Phones repeat it in EXIF, which must then be ignored
    (ISO/IEC 23008-12, annex A). Some converters, against the standard, write it only in EXIF, which is then applied.
    """
    try:
        import pillow_heif  # noqa: PLC0415 - takes 90 ms, and only HEIC photographs need it

        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    except ImportError as error:  # open_heif() raises it if the extension module cannot be loaded
        raise UnsupportedImage(
            f"{kind} is not supported: the gateway's package pillow-heif is missing or cannot be loaded."
        ) from error
    width, height = file.size
    check_pixels(width, height, max_pixels)
    image = file.to_pillow()
    image.info["exif"] = file.info.get("exif")  # to_pillow() sets its orientation to 1
    if any(data.find(name, 0, _HEIF_SEARCH_BYTES) >= 0 for name in _HEIF_TRANSFORMS):
        del image.info["exif"]
    return image
