"""Conversion of a file to a tensor, and to a file that every service decodes."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.formats import BYTES, PIXELS, file, plain
from devstack.model import decode
from devstack.photos import photo
from shared.errors import ImageTooLarge
from shared.scoring.images import normalise, to_file, to_tensor
from shared.settings import ChannelOrder, Preprocessing

PLAIN = Preprocessing(size=8, resize=8, mean=(0, 0, 0), scale=(1, 1, 1))
DEFAULT = Preprocessing()


def test_each_channel_is_normalised_with_its_mean_and_scale() -> None:
    preprocessing = Preprocessing(size=2, resize=2, mean=(10, 20, 30), scale=(2, 4, 5))

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (20, 40, 60)), "PNG"), preprocessing, PIXELS)

    assert tensor.shape == (2, 2, 3)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, np.full((2, 2, 3), [5, 5, 6], np.float32))


def test_normalisation_is_exact_for_every_value() -> None:
    preprocessing = Preprocessing(mean=(123.675, 116.28, 103.53), scale=(58.395, 57.12, 57.375))
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([values, values[::-1], values.T], axis=2))

    exact = (np.asarray(image, np.float64) - preprocessing.mean) / preprocessing.scale

    np.testing.assert_allclose(normalise(image, preprocessing), exact, rtol=1e-6, atol=1e-6)


def test_channels_can_be_in_bgr_order() -> None:
    preprocessing = Preprocessing(size=2, resize=2, mean=(0, 0, 0), scale=(1, 1, 1), order=ChannelOrder.BGR)

    tensor = to_tensor(file(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG"), preprocessing, PIXELS)

    assert tensor[0, 0].tolist() == [3, 2, 1]
    assert tensor.flags.c_contiguous


def test_mean_and_scale_are_given_in_rgb_for_either_order() -> None:
    preprocessing = Preprocessing(size=1, resize=1, mean=(1, 2, 3), scale=(1, 1, 1), order=ChannelOrder.BGR)

    assert to_tensor(file(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), preprocessing, PIXELS).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_the_longer_side_is_cropped_to_the_centre(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (255, 0, 0))
    left, top = (size[0] - 100) // 2, (size[1] - 100) // 2
    image.paste((0, 255, 0), (left, top, left + 100, top + 100))

    tensor = to_tensor(file(image, "PNG"), PLAIN, PIXELS)

    # The bicubic filter blends surrounding pixels into the border.
    assert tensor[1:-1, 1:-1, 1].min() == 255
    assert tensor[1:-1, 1:-1, 0].max() == 0


def test_the_margin_between_resize_and_size_is_cropped() -> None:
    image = Image.new("RGB", (100, 100), (255, 0, 0))
    image.paste((0, 255, 0), (25, 25, 75, 75))

    tensor = to_tensor(file(image, "PNG"), Preprocessing(size=8, resize=16, mean=(0, 0, 0), scale=(1, 1, 1)), PIXELS)

    assert tensor[1:-1, 1:-1, 1].min() == 255


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (451, 300), (300, 300), (1999, 257), (90, 61)])
def test_the_tensor_equals_that_of_the_services_own_decoder(size: tuple[int, int]) -> None:
    data = file(plain("rocket").resize(size), "PNG")

    difference = np.abs(to_tensor(data, DEFAULT, PIXELS) - decode(data)) * 128

    assert difference.max() <= 1


@pytest.mark.parametrize("name", ["coffee", "chelsea", "grace_hopper"])
def test_the_converted_file_has_the_tensors_pixels(name: str) -> None:
    data = photo(name).read_bytes()

    converted = to_file(data, DEFAULT, PIXELS, BYTES)

    # But for the rounding of hardly a value: of the tensor's pixels only the central square is resized.
    difference = np.abs(decode(converted) - to_tensor(data, DEFAULT, PIXELS)) * 128
    assert difference.max() <= 1
    assert np.count_nonzero(difference) < 0.001 * difference.size


def test_a_large_jpeg_that_is_decoded_at_reduced_size_has_the_same_pixels() -> None:
    small = plain("coffee")
    large = file(small.resize((3001, 2001), Image.Resampling.BICUBIC), "JPEG", quality=95)

    difference = np.abs(to_tensor(large, DEFAULT, PIXELS) - to_tensor(file(small, "PNG"), DEFAULT, PIXELS)) * 128

    assert difference.mean() < 2
    shifted = np.abs(to_tensor(large, DEFAULT, PIXELS)[:, 1:] - to_tensor(file(small, "PNG"), DEFAULT, PIXELS)[:, :-1])
    assert shifted.mean() * 128 > 4  # an offset of one pixel would be detected


def test_a_small_image_is_not_enlarged_before_it_is_sent() -> None:
    data = file(Image.new("RGB", (40, 30), "green"), "GIF")

    with Image.open(io.BytesIO(to_file(data, DEFAULT, PIXELS, BYTES))) as converted:
        assert (converted.format, converted.mode, converted.size) == ("PNG", "RGB", (40, 30))


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (20_000, 300)])
def test_a_very_long_image_is_cropped_to_its_centre(size: tuple[int, int]) -> None:
    strip = Image.new("RGB", size, "red")
    middle = (size[0] // 2, size[1] // 2)
    strip.paste("lime", (middle[0] - 200, middle[1] - 200, middle[0] + 200, middle[1] + 200))
    data = file(strip, "PNG")

    tensor = to_tensor(data, PLAIN, PIXELS)
    with Image.open(io.BytesIO(to_file(data, DEFAULT, PIXELS, BYTES))) as converted:
        assert max(converted.size) <= 8 * min(converted.size)

    assert tensor[2:-2, 2:-2, 1].min() == 255


def test_a_png_that_is_too_large_for_a_message_is_replaced_by_a_jpeg() -> None:
    noise = file(Image.effect_noise((300, 300), 100).convert("RGB"), "BMP")

    with Image.open(io.BytesIO(to_file(noise, DEFAULT, PIXELS, 90_000))) as converted:
        assert converted.format == "JPEG"
    with pytest.raises(ImageTooLarge, match=r"resized image has .* the service accepts 1000"):
        to_file(noise, DEFAULT, PIXELS, 1000)
