"""A point of a model's input is the same point of the photograph, whatever was done to it on the way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.photographs.formats import PIXELS, TRANSPOSITIONS, oriented
from shared.scoring.decoding.work import ToFile, ToTensor, without_placement
from shared.scoring.images import geometry, to_tensor
from shared.settings import Datatype, Fit, Layout, Preprocessing

# The levels of the first and of the last pixel of a gradient; beyond are bars.
FIRST, LEVELS, BAR = 40, 200, 0
FULL_COLOUR: dict[str, dict[str, object]] = {"JPEG": {"subsampling": 0}, "PNG": {}, "TIFF": {}}


def gradients(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from the top down: a colour is a point."""
    across, down = (FIRST + LEVELS * (np.arange(size) + 0.5) / size for size in (width, height))
    pixels = np.zeros((height, width, 3))
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = across, down[:, None], 255
    # Noise, so that levels are right on average, wherever they are rounded.
    pixels[..., :2] += np.random.default_rng(1).uniform(-2.5, 3.5, (height, width, 2))
    return Image.fromarray(pixels.astype(np.uint8))


def lines(pixels: np.ndarray[Any, Any], width: int, height: int) -> list[tuple[float, float]]:
    """The straight lines ``photograph = a * input + b`` of both axes that the colours of an input show."""
    found = []
    shown = pixels[..., 2] > 250
    for axis, size in ((1, width), (0, height)):
        at = np.nonzero(shown.any(axis=1 - axis))[0][2:-2]
        levels = np.array([np.take(pixels[..., 1 - axis], one, axis)[np.take(shown, one, axis)].mean() for one in at])
        slope, start = np.polyfit(at + 0.5, (levels - FIRST) / LEVELS * size, 1)
        found.append((float(slope), float(start)))
    return found


@pytest.mark.parametrize("kind", FULL_COLOUR)
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    fit=st.sampled_from(Fit),
    orientation=st.sampled_from(sorted(TRANSPOSITIONS)),
    width=st.integers(120, 1400),
    height=st.integers(120, 1400),
    layout=st.sampled_from(Layout),
)
def test_a_point_of_the_tensor_is_the_same_point_of_the_photograph(
    kind: str, fit: Fit, orientation: int, width: int, height: int, layout: Layout
) -> None:
    # Of a very long picture a crop shows too few levels to tell where it is.
    assume(max(width, height) <= 4 * min(width, height))
    how = Preprocessing(size=160, resize=180, fit=fit, padding=BAR)
    data = oriented(gradients(width, height), orientation, kind, quality=98, **FULL_COLOUR[kind])

    found, content = without_placement(ToTensor(how, PIXELS, Datatype.UINT8, layout, placed=True)(data))

    pixels = np.frombuffer(content, np.uint8).reshape((160, 160, 3) if layout is Layout.NHWC else (3, 160, 160))
    pixels = pixels if layout is Layout.NHWC else pixels.transpose(1, 2, 0)
    # TIFF's own decoder applies it, as that of every other program does.
    assert found[:3] == (width, height, 1 if kind == "TIFF" else orientation)
    assert (found.input_width, found.input_height) == (160, 160)
    _check(found, pixels, width, height)


def _check(found: geometry.Placement, pixels: np.ndarray[Any, Any], width: int, height: int) -> None:
    ends = ((found.scale_x, found.pad_left, pixels.shape[1]), (found.scale_y, found.pad_top, pixels.shape[0]))
    for (slope, start), (scale, pad, size) in zip(lines(pixels, width, height), ends, strict=True):
        for at in (max(0.0, pad), min(size, size - pad)):
            # Half a pixel, of the input or of the photograph, would be a mistake of the edges.
            assert abs((at * slope + start) * scale + pad - at) < 0.35 * max(1, scale), (at, slope, start)


@pytest.mark.parametrize("orientation", sorted(TRANSPOSITIONS))
@pytest.mark.parametrize("fit", Fit)
def test_a_photograph_of_many_megapixels_that_is_reduced_while_it_is_decoded(fit: Fit, orientation: int) -> None:
    how = Preprocessing(size=160, resize=180, fit=fit, padding=BAR)
    data = oriented(gradients(2999, 2001), orientation, "JPEG", quality=95)

    found, content = without_placement(ToTensor(how, PIXELS, Datatype.UINT8, placed=True)(data))

    _check(found, np.frombuffer(content, np.uint8).reshape(160, 160, 3), 2999, 2001)


def test_a_file_that_is_made_smaller_for_the_service() -> None:
    how = Preprocessing(size=160, resize=180)
    data = oriented(gradients(1200, 100), 6, "JPEG", quality=95)  # so long that its ends are cut off

    found, file = without_placement(ToFile(how, PIXELS, 10_000_000, placed=True)(data))

    assert found[:3] == (1200, 100, 6)
    assert (found.input_width, found.input_height, found.scale_x, found.scale_y) == (800, 100, 1, 1)
    assert (found.pad_left, found.pad_top) == (-200, 0)
    whole = Preprocessing(size=100, resize=100, fit=Fit.STRETCH, mean=(0, 0, 0), scale=(1, 1, 1))
    pixels = to_tensor(bytes(file), whole, PIXELS)
    assert abs(pixels[:, 0, 0].mean() - (FIRST + LEVELS / 6)) < 3


@pytest.mark.parametrize(("size", "bars"), [((200, 100), (0, 40)), ((100, 200), (40, 0)), ((160, 159), (0, 0))])
def test_bars_are_on_both_sides_and_grey(size: tuple[int, int], bars: tuple[int, int]) -> None:
    how = Preprocessing(size=160, fit=Fit.LETTERBOX, mean=(0, 0, 0), scale=(1, 1, 1))

    pixels = to_tensor(oriented(Image.new("RGB", size, "white"), 1, "PNG"), how, PIXELS)

    left, top = bars
    assert (pixels[:, :left] == 114).all()
    assert (pixels[:top] == 114).all()
    assert (pixels[top : 160 - top - (size[1] % 2), left : 160 - left] == 255).all()
