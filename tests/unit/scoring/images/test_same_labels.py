"""A photograph is scored alike in every format and orientation, as a file and as a tensor, by the real model.

``python -m benchmarks.photographs.scores_by_format`` prints the scores.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs.formats import file, formats, oriented, plain
from benchmarks.photographs.scores_by_format import Run, Scores, reference, scores, session
from tests.support.icc_profiles import DISPLAY_P3, PROPHOTO, encoded_in, rgb_profile

FORMATS = formats()

# The largest allowed difference of a probability from the service's own for a lossless file.
LOSSLESS = 0.003
# JPEG with quality 95 changes one by up to 0.02, AVIF and HEIC by 0.03, WebP, with subsampled colours, by 0.06.
LOSSY = 0.07
# Palettes of 256 colours.
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
def encoded(kind: str, name: str) -> bytes:
    return FORMATS[kind](plain(name))


def check(actual: Scores, expected: NDArray[np.float32], tolerance: float) -> None:
    for form, probabilities in (("encoded", actual.encoded), ("tensor", actual.tensor)):
        assert probabilities.argmax() == expected.argmax(), form
        assert np.abs(probabilities - expected).max() <= tolerance, form


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_scores_as_the_lossless_photograph(kind: str, name: str, run: Run) -> None:
    expected = reference(plain(name), run)

    assert expected.argmax() == PHOTOS[name]
    check(scores(encoded(kind, name), run), expected, TOLERANCES[kind])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_scores_of_file_and_tensor_agree(kind: str, run: Run) -> None:
    """A converted file has exactly the tensor's pixels."""
    found = scores(encoded(kind, "rocket"), run)

    np.testing.assert_allclose(found.encoded, found.tensor, atol=1e-5 if not found.unchanged else LOSSLESS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_scores_as_the_upright_photograph(orientation: int, run: Run) -> None:
    data = oriented(plain("coffee"), orientation, "JPEG", quality=95, subsampling=0)

    check(scores(data, run), reference(plain("coffee"), run), LOSSY)


def test_an_upside_down_photograph_has_other_scores(run: Run) -> None:
    upside_down = plain("coffee").transpose(Image.Transpose.ROTATE_180)

    assert np.abs(reference(upside_down, run) - reference(plain("coffee"), run)).max() > LOSSY


def test_a_large_photograph_scores_as_at_full_resolution(run: Run) -> None:
    """Decoding a JPEG at reduced size, and averaging a PNG, change probabilities by up to 0.02."""
    large = plain("coffee").resize((2401, 1601), Image.Resampling.BICUBIC)
    expected = reference(large, run)

    check(scores(file(large, "JPEG", quality=95, subsampling=0), run), expected, 0.02)
    check(scores(oriented(large, 8, "JPEG", quality=95, subsampling=0), run), expected, 0.02)
    check(scores(file(large, "PNG", compress_level=1), run), expected, 0.02)


def test_a_wide_gamut_photograph_scores_as_in_srgb(run: Run) -> None:
    expected = reference(plain("coffee"), run)
    for profile in (rgb_profile(DISPLAY_P3), rgb_profile(PROPHOTO, 1.8, (0.3457, 0.3585))):
        picture = encoded_in(profile, plain("coffee"))
        check(scores(file(picture, "JPEG", quality=95, subsampling=0, icc_profile=profile), run), expected, LOSSY)
        check(scores(file(picture, "PNG", icc_profile=profile), run), expected, LOSSY)
