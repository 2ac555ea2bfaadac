"""From a file's bytes to a tensor."""

import io

import numpy as np
import pytest
from PIL import Image

from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.scoring.images import check, format_of, to_tensor
from shared.settings import ChannelOrder, Preprocessing

PLAIN = Preprocessing(size=8, resize=8, mean=(0, 0, 0), scale=(1, 1, 1))
ENOUGH = 1_000_000


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def halves(size: tuple[int, int] = (16, 16)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_content_decides_the_format(kind: str) -> None:
    assert format_of(file(halves(), kind)) == kind


@pytest.mark.parametrize("data", [b"", b"x", b"GIF89a......", b"\xff\xd8", b"<svg/>"])
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        format_of(data)


def test_pixels_are_normalised_channel_by_channel() -> None:
    how = Preprocessing(size=2, resize=2, mean=(10, 20, 30), scale=(2, 4, 5))

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (20, 40, 60))), how, ENOUGH)

    assert tensor.shape == (2, 2, 3)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, np.full((2, 2, 3), [5, 5, 6], np.float32))


def test_channels_can_be_turned_to_bgr() -> None:
    how = Preprocessing(size=2, resize=2, mean=(0, 0, 0), scale=(1, 1, 1), order=ChannelOrder.BGR)

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (1, 2, 3))), how, ENOUGH)

    assert tensor[0, 0].tolist() == [3, 2, 1]
    assert tensor.flags.c_contiguous


def test_mean_and_scale_belong_to_red_green_and_blue_in_either_order() -> None:
    how = Preprocessing(size=1, resize=1, mean=(1, 2, 3), scale=(1, 1, 1), order=ChannelOrder.BGR)

    assert to_tensor(file(Image.new("RGB", (1, 1), (1, 2, 3))), how, ENOUGH).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_the_centre_is_cut_out_of_the_longer_side(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    left, top = (size[0] - 100) // 2, (size[1] - 100) // 2
    image.paste((0, 255, 0), (left, top, left + 100, top + 100))

    tensor = to_tensor(file(image), PLAIN, ENOUGH)

    # Bicubic filtering mixes a little of the outside into the outermost pixels.
    assert tensor[1:-1, 1:-1, 1].min() == 255
    assert tensor[1:-1, 1:-1, 0].max() == 0


def test_the_margin_between_resize_and_size_is_cut_off() -> None:
    image = Image.new("RGB", (100, 100), (255, 0, 0))
    image.paste((0, 255, 0), (25, 25, 75, 75))

    tensor = to_tensor(file(image), Preprocessing(size=8, resize=16, mean=(0, 0, 0), scale=(1, 1, 1)), ENOUGH)

    assert tensor[1:-1, 1:-1, 1].min() == 255


def test_a_picture_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation (EXIF 2.3): the camera was turned; show it rotated by 90 degrees clockwise

    tensor = to_tensor(file(halves(), "PNG", exif=exif), PLAIN, ENOUGH)

    assert tensor[0, :, 0].min() > 200  # red, the left, is now above
    assert tensor[-1, :, 2].min() > 200


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    assert to_tensor(file(Image.new("RGB", (4, 4), "white").convert(mode)), PLAIN, ENOUGH).shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_cut_short_is_damaged(kind: str) -> None:
    noise = Image.effect_noise((64, 64), 100).convert("RGB")
    data = file(noise, kind)

    with pytest.raises(DamagedImage):
        to_tensor(data[: len(data) // 2], PLAIN, ENOUGH)
    with pytest.raises(DamagedImage):
        check(data[:14], ENOUGH)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_by_the_header_alone(kind: str) -> None:
    data = file(halves((20, 20)), kind)

    check(data, 400)
    for work in (lambda: check(data, 399), lambda: to_tensor(data, PLAIN, 399)):
        with pytest.raises(ImageTooLarge) as caught:
            work()
        assert caught.value.detail == "The image has 20 x 20 pixels; 399 are allowed."
