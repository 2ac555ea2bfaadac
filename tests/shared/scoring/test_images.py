"""From a file's bytes to a tensor, and to a file that every service decodes."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs import ENOUGH, ROOM, file, plain
from devstack.model import decode
from devstack.photos import photo
from shared.errors import ImageTooLarge
from shared.scoring.images import normalise, to_file, to_tensor
from shared.settings import ChannelOrder, Preprocessing

PLAIN = Preprocessing(size=8, resize=8, mean=(0, 0, 0), scale=(1, 1, 1))
DEFAULT = Preprocessing()


def test_pixels_are_normalised_channel_by_channel() -> None:
    how = Preprocessing(size=2, resize=2, mean=(10, 20, 30), scale=(2, 4, 5))

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (20, 40, 60)), "PNG"), how, ENOUGH)

    assert tensor.shape == (2, 2, 3)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, np.full((2, 2, 3), [5, 5, 6], np.float32))


def test_normalising_is_exact_for_every_value() -> None:
    how = Preprocessing(mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375))
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([values, values[::-1], values.T], axis=2))

    exact = (np.asarray(image, np.float64) - how.mean) / how.scale

    np.testing.assert_allclose(normalise(image, how), exact, rtol=1e-6, atol=1e-6)


def test_channels_can_be_turned_to_bgr() -> None:
    how = Preprocessing(size=2, resize=2, mean=(0, 0, 0), scale=(1, 1, 1), order=ChannelOrder.BGR)

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG"), how, ENOUGH)

    assert tensor[0, 0].tolist() == [3, 2, 1]
    assert tensor.flags.c_contiguous


def test_mean_and_scale_belong_to_red_green_and_blue_in_either_order() -> None:
    how = Preprocessing(size=1, resize=1, mean=(1, 2, 3), scale=(1, 1, 1), order=ChannelOrder.BGR)

    assert to_tensor(file(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), how, ENOUGH).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_the_centre_is_cut_out_of_the_longer_side(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    left, top = (size[0] - 100) // 2, (size[1] - 100) // 2
    image.paste((0, 255, 0), (left, top, left + 100, top + 100))

    tensor = to_tensor(file(image, "PNG"), PLAIN, ENOUGH)

    # Bicubic filtering mixes a little of the outside into the outermost pixels.
    assert tensor[1:-1, 1:-1, 1].min() == 255
    assert tensor[1:-1, 1:-1, 0].max() == 0


def test_the_margin_between_resize_and_size_is_cut_off() -> None:
    image = Image.new("RGB", (100, 100), (255, 0, 0))
    image.paste((0, 255, 0), (25, 25, 75, 75))

    tensor = to_tensor(file(image, "PNG"), Preprocessing(size=8, resize=16, mean=(0, 0, 0), scale=(1, 1, 1)), ENOUGH)

    assert tensor[1:-1, 1:-1, 1].min() == 255


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (451, 300), (300, 300), (1999, 257), (90, 61)])
def test_the_tensor_is_the_services_own_pixel_by_pixel(size: tuple[int, int]) -> None:
    data = file(plain("rocket").resize(size), "PNG")

    difference = np.abs(to_tensor(data, DEFAULT, ENOUGH) - decode(data)) * 128

    assert difference.max() <= 1


@pytest.mark.parametrize("name", ["coffee", "chelsea", "grace_hopper"])
def test_a_file_made_for_the_service_gives_the_tensors_pixels(name: str) -> None:
    data = photo(name).read_bytes()

    made = to_file(data, DEFAULT, ENOUGH, ROOM)

    np.testing.assert_array_equal(decode(made), to_tensor(data, DEFAULT, ENOUGH))


def test_a_large_jpeg_is_decoded_small_and_stays_the_same_picture() -> None:
    small = plain("coffee")
    large = file(small.resize((3001, 2001), Image.Resampling.BICUBIC), "JPEG", quality=95)

    difference = np.abs(to_tensor(large, DEFAULT, ENOUGH) - to_tensor(file(small, "PNG"), DEFAULT, ENOUGH)) * 128

    assert difference.mean() < 2
    shifted = np.abs(to_tensor(large, DEFAULT, ENOUGH)[:, 1:] - to_tensor(file(small, "PNG"), DEFAULT, ENOUGH)[:, :-1])
    assert shifted.mean() * 128 > 4  # a pixel beside its place would have shown


def test_a_small_picture_is_not_blown_up_before_it_is_sent() -> None:
    data = file(Image.new("RGB", (40, 30), "green"), "GIF")

    with Image.open(io.BytesIO(to_file(data, DEFAULT, ENOUGH, ROOM))) as made:
        assert (made.format, made.mode, made.size) == ("PNG", "RGB", (40, 30))


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (20_000, 300)])
def test_a_strip_is_cut_to_its_centre_instead_of_being_blown_up(size: tuple[int, int]) -> None:
    strip = Image.new("RGB", size, "red")
    middle = (size[0] // 2, size[1] // 2)
    strip.paste("lime", (middle[0] - 200, middle[1] - 200, middle[0] + 200, middle[1] + 200))
    data = file(strip, "PNG")

    tensor = to_tensor(data, PLAIN, ENOUGH)
    with Image.open(io.BytesIO(to_file(data, DEFAULT, ENOUGH, ROOM))) as made:
        assert max(made.size) <= 8 * min(made.size)

    assert tensor[2:-2, 2:-2, 1].min() == 255


def test_a_file_that_is_too_long_for_a_message_becomes_a_jpeg() -> None:
    noise = file(Image.effect_noise((300, 300), 100).convert("RGB"), "BMP")

    with Image.open(io.BytesIO(to_file(noise, DEFAULT, ENOUGH, 90_000))) as made:
        assert made.format == "JPEG"
    with pytest.raises(ImageTooLarge, match="even when shrunk; the service takes 1000"):
        to_file(noise, DEFAULT, ENOUGH, 1000)
