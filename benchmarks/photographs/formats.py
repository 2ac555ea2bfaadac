"""Photographs as files of every format that phones, cameras and browsers write; for measurements and for tests."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image, ImageChops

from devstack.photos import photo

ORIENTATION = 0x0112
# Limits of an image, for tests and measurements.
PIXELS, BYTES = 50_000_000, 4_000_000

# How to transpose an upright picture so that a viewer which applies the orientation shows it upright (EXIF 2.3, 274).
TRANSPOSITIONS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file of that kind, as Pillow names it."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()  # for writing; the gateway reads HEIF without it
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@cache
def plain(name: str) -> Image.Image:
    """A sample photograph as RGB without metadata."""
    with Image.open(photo(name)) as image:
        return Image.fromarray(np.asarray(image.convert("RGB")))


def oriented(image: Image.Image, orientation: int, kind: str, **options: object) -> bytes:
    """A file with transposed pixels and the orientation that corrects them."""
    how = TRANSPOSITIONS[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    # As bytes: from an Exif object, pillow-heif takes the metadata but not the orientation.
    return file(image if how is None else image.transpose(how), kind, exif=exif.tobytes(), **options)


def transparent(image: Image.Image) -> Image.Image:
    """A transparent picture that looks like the photograph on white: as transparent as possible everywhere."""
    pixels = np.asarray(image).astype(np.float32)
    alpha = 255 - pixels.min(axis=2, keepdims=True)
    colour = np.where(alpha > 0, (pixels - 255 + alpha) * 255 / np.maximum(alpha, 1), 0)
    return Image.fromarray(np.concatenate([colour.round(), alpha], axis=2).astype(np.uint8), "RGBA")


def deep_png(image: Image.Image) -> bytes:
    """A PNG of sixteen bits a channel; Pillow writes none in colour."""
    pixels = np.asarray(image).astype(np.uint16)
    wide = (pixels << 8 | 0x80).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    return png(image.size, 16, 2, rows)


def adam7_png(image: Image.Image) -> bytes:
    """An interlaced PNG: seven passes, each of a coarser grid's pixels (PNG, section 8); Pillow writes none."""
    pixels = np.asarray(image)
    grids = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    passes = [pixels[top::down, left::right] for left, top, right, down in grids]
    rows = b"".join(b"\0" + row.tobytes() for grid in passes if grid.size for row in grid)
    return png(image.size, 8, 2, rows, interlace=1)


def png(
    size: tuple[int, int], depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes], interlace: int = 0
) -> bytes:
    """A PNG file made by hand of uncompressed ``rows``; ``chunks`` are put before them."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in parts)


def ycck(image: Image.Image) -> bytes:
    """A JPEG in Adobe's YCCK, by Pillow's writer of CMYK: its first three inks are converted to YCbCr beforehand.

    It writes each value inverted, as Adobe does; the marker's last byte is the colour space.
    """
    inks = image.convert("CMYK")
    cyan, magenta, yellow, black = inks.split()
    luma = ImageChops.invert(Image.merge("RGB", [cyan, magenta, yellow]).convert("YCbCr"))
    data = file(Image.merge("CMYK", [*luma.split(), black]), "JPEG", quality=95, subsampling=0)
    at = data.index(b"Adobe\x00")
    return data[: at + 11] + b"\x02" + data[at + 12 :]


def formats() -> dict[str, Callable[[Image.Image], bytes]]:
    """Writers of each format, in good quality, by name."""
    return {
        "JPEG baseline": lambda image: file(image, "JPEG", quality=95, subsampling=0),
        "JPEG progressive": lambda image: file(image, "JPEG", quality=95, progressive=True),
        "JPEG CMYK": lambda image: file(image.convert("CMYK"), "JPEG", quality=95, subsampling=0),
        "JPEG YCCK": ycck,
        "JPEG rotated": lambda image: oriented(image, 6, "JPEG", quality=95, subsampling=0),
        "PNG": lambda image: file(image, "PNG"),
        "PNG palette": lambda image: file(image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG), "PNG"),
        "PNG alpha": lambda image: file(transparent(image), "PNG"),
        "PNG 16-bit": deep_png,
        "PNG interlaced": adam7_png,
        "WebP": lambda image: file(image, "WEBP", quality=95),
        "WebP lossless": lambda image: file(image, "WEBP", lossless=True),
        "GIF animated": lambda image: file(image, "GIF", save_all=True, append_images=[Image.new("RGB", image.size)]),
        "BMP": lambda image: file(image, "BMP"),
        "TIFF": lambda image: file(image, "TIFF"),
        "TIFF LZW, pages": lambda image: file(
            image, "TIFF", compression="tiff_lzw", save_all=True, append_images=[Image.new("RGB", (9, 9))]
        ),
        "TIFF JPEG": lambda image: file(image, "TIFF", compression="jpeg", quality=95),
        "AVIF": lambda image: file(image, "AVIF", quality=95, subsampling="4:4:4", speed=9),
        "HEIC": lambda image: file(image, "HEIF", quality=95, chroma=444),
        "HEIC rotated": lambda image: oriented(image, 8, "HEIF", quality=95, chroma=444),
    }
