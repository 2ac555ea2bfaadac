import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devstack.model import ImageError, decode, decode_all


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def scaled(value: float) -> float:
    return (value - 127) / 128


def test_one_colour_becomes_its_scaled_value_channel_by_channel() -> None:
    pixels = decode(encoded(Image.new("RGB", (300, 400), (255, 127, 0))))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.float32
    assert pixels[100, 100].tolist() == pytest.approx([scaled(255), 0, scaled(0)])
    assert np.ptp(pixels, axis=(0, 1)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(768, 256), (256, 768)])
def test_the_centre_is_cut_out(size: tuple[int, int]) -> None:
    image = Image.new("L", size, 0)
    left, top = (side // 2 - 112 for side in size)
    image.paste(255, (left, top, left + 224, top + 224))
    assert decode(encoded(image)).min() == pytest.approx(1)


def test_the_short_side_becomes_256() -> None:
    """Of a picture of 512 x 1024 the inner 448 x 448 are seen: a frame around them is not."""
    image = Image.new("L", (512, 1024), 255)
    image.paste(0, (28, 284, 28 + 456, 284 + 456))  # four pixels beyond, for the reach of the filter
    assert decode(encoded(image)).max() == pytest.approx(scaled(0))


def test_a_picture_smaller_than_the_crop_is_enlarged() -> None:
    assert decode(encoded(Image.new("RGB", (1, 3), (127, 127, 127)))).max() == 0


@pytest.mark.parametrize(
    ("image", "options", "value"),
    [
        (Image.new("L", (9, 9), 50), {}, 50),
        (Image.new("LA", (9, 9), (50, 0)), {}, 50),
        (Image.new("RGBA", (9, 9), (50, 50, 50, 10)), {}, 50),
        (Image.new("1", (9, 9), 1), {}, 255),
        (Image.fromarray(np.full((9, 9), 50 * 256, np.uint16)), {}, 50),
        (Image.new("P", (9, 9), 0), {"transparency": b"\x01\x02"}, 0),
        (Image.new("CMYK", (9, 9), (0, 0, 0, 205)), {"form": "JPEG"}, 50),
    ],
    ids=["grey", "grey with alpha", "alpha", "bits", "sixteen bits", "palette", "CMYK"],
)
def test_every_kind_of_pixel_becomes_rgb(image: Image.Image, options: dict[str, Any], value: int) -> None:
    assert decode(encoded(image, **options))[5, 5].tolist() == pytest.approx([scaled(value)] * 3, abs=0.01)


def test_files_become_a_batch_in_their_order() -> None:
    files = [encoded(Image.new("L", (256, 256), value)) for value in (0, 127, 255)]
    assert decode_all(files)[:, 0, 0, 0].tolist() == pytest.approx([scaled(0), 0, 1])


def test_a_broken_file_is_named_by_its_index() -> None:
    whole = encoded(Image.effect_noise((300, 300), 50), "JPEG")
    with pytest.raises(ImageError, match=r"images\[1\] cannot be decoded as JPEG or PNG: .*truncated"):
        decode_all([whole, whole[: len(whole) // 2]])


@pytest.mark.parametrize("file", [b"", b"hello", encoded(Image.new("L", (9, 9)), "GIF")], ids=["none", "text", "GIF"])
def test_another_format_is_refused(file: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be decoded as JPEG or PNG: unknown format"):
        decode(file)


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused_unread() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="has 8000x8000 pixels"):
        decode(bomb)
