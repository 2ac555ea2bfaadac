"""The same photograph gets the same label in every format, in both forms: scored by the real model.

``python -m benchmarks.formats_table`` prints the scores.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.formats_table import Run, Scores, reference, scores, session
from benchmarks.photographs import file, formats, lying, plain
from tests.shared.scoring.profiles import DISPLAY_P3, PROPHOTO, encoded_in, rgb_profile

FORMATS = formats()

# How far any of the thousand probabilities may be from the service's own for a lossless file.
LOSSLESS = 0.003
# JPEG of quality 95 moves them by up to 0.02, AVIF and HEIC by 0.03, WebP, which halves the colours, by 0.06.
LOSSY = 0.07
# 256 colours are no photograph any more.
FEW_COLOURS = 0.1

TOLERANCES = {
    **dict.fromkeys(FORMATS, LOSSY),
    **dict.fromkeys(
        ("PNG", "PNG alpha", "PNG 16-bit", "PNG interlaced", "WebP lossless", "BMP", "TIFF", "TIFF LZW, pages"),
        LOSSLESS,
    ),
    "PNG palette": FEW_COLOURS,
    "GIF animated": FEW_COLOURS,
}
PHOTOS = {"coffee": 967, "rocket": 657}


@pytest.fixture(scope="module")
def run() -> Run:
    return session()


@cache
def written(kind: str, name: str) -> bytes:
    return FORMATS[kind](plain(name))


def check(found: Scores, wanted: NDArray[np.float32], tolerance: float) -> None:
    for form, probabilities in (("encoded", found.encoded), ("tensor", found.tensor)):
        assert probabilities.argmax() == wanted.argmax(), form
        assert np.abs(probabilities - wanted).max() <= tolerance, form


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_photograph_in_every_format(kind: str, name: str, run: Run) -> None:
    wanted = reference(plain(name), run)

    assert wanted.argmax() == PHOTOS[name]
    check(scores(written(kind, name), run), wanted, TOLERANCES[kind])


@pytest.mark.parametrize("kind", FORMATS)
def test_both_forms_agree(kind: str, run: Run) -> None:
    """What is made anew for an encoded service holds the tensor's very pixels."""
    found = scores(written(kind, "rocket"), run)

    np.testing.assert_allclose(found.encoded, found.tensor, atol=1e-5 if not found.as_it_came else LOSSLESS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_in_every_position(orientation: int, run: Run) -> None:
    data = lying(plain("coffee"), orientation, "JPEG", quality=95, subsampling=0)

    check(scores(data, run), reference(plain("coffee"), run), LOSSY)


def test_an_upside_down_photograph_that_is_not_turned_would_score_otherwise(run: Run) -> None:
    upside_down = plain("coffee").transpose(Image.Transpose.ROTATE_180)

    assert np.abs(reference(upside_down, run) - reference(plain("coffee"), run)).max() > LOSSY


def test_a_large_photograph(run: Run) -> None:
    """JPEG is decoded small, PNG averaged: either moves the probabilities by up to 0.02."""
    large = plain("coffee").resize((2401, 1601), Image.Resampling.BICUBIC)
    wanted = reference(large, run)

    check(scores(file(large, "JPEG", quality=95, subsampling=0), run), wanted, 0.02)
    check(scores(lying(large, 8, "JPEG", quality=95, subsampling=0), run), wanted, 0.02)
    check(scores(file(large, "PNG", compress_level=1), run), wanted, 0.02)


def test_a_wide_gamut_photograph_in_both_forms(run: Run) -> None:
    wanted = reference(plain("coffee"), run)
    for profile in (rgb_profile(DISPLAY_P3), rgb_profile(PROPHOTO, 1.8, (0.3457, 0.3585))):
        picture = encoded_in(profile, plain("coffee"))
        check(scores(file(picture, "JPEG", quality=95, subsampling=0, icc_profile=profile), run), wanted, LOSSY)
        check(scores(file(picture, "PNG", icc_profile=profile), run), wanted, LOSSY)
