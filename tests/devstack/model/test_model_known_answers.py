"""The model tells what is on photographs. Labels alone would not do: a wrong scale or BGR often keeps the best one."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from devstack.model import decode, decode_all
from devstack.photos import photo

if TYPE_CHECKING:
    from numpy.typing import NDArray

ESPRESSO, MISSILE, MILITARY_UNIFORM = 967, 657, 652
TABBY, TIGER_CAT, EGYPTIAN_CAT = 281, 282, 285


@pytest.fixture(scope="module")
def answers(probabilities: Any) -> "dict[str, NDArray[np.float32]]":
    names = ["coffee", "rocket", "chelsea", "grace_hopper"]
    files = [photo(name).read_bytes() for name in names]
    return dict(zip(names, probabilities(decode_all(files)), strict=True))


@pytest.mark.parametrize(
    ("name", "label", "probability"),
    [
        ("coffee", ESPRESSO, 0.951),
        ("rocket", MISSILE, 0.296),
        ("chelsea", TIGER_CAT, 0.386),
        ("chelsea", EGYPTIAN_CAT, 0.355),
        ("chelsea", TABBY, 0.170),
        ("grace_hopper", MILITARY_UNIFORM, 0.177),
    ],
)
def test_probabilities(answers: "dict[str, NDArray[np.float32]]", name: str, label: int, probability: float) -> None:
    assert answers[name][label] == pytest.approx(probability, abs=0.02)


@pytest.mark.parametrize(("name", "label", "place"), [("coffee", 967, 1), ("rocket", 657, 1), ("grace_hopper", 652, 3)])
def test_labels(answers: "dict[str, NDArray[np.float32]]", name: str, label: int, place: int) -> None:
    assert label in np.argsort(answers[name])[::-1][:place]


def test_probabilities_sum_to_one(answers: "dict[str, NDArray[np.float32]]") -> None:
    assert [float(values.sum()) for values in answers.values()] == pytest.approx([1] * 4, abs=1e-5)


def test_an_image_scores_the_same_alone_and_in_a_batch(
    probabilities: Any, answers: "dict[str, NDArray[np.float32]]"
) -> None:
    alone = probabilities(decode(photo("rocket").read_bytes())[None])[0]
    np.testing.assert_allclose(alone, answers["rocket"], atol=1e-5)


def test_the_tolerance_tells_rgb_from_bgr_and_a_wrong_scale(probabilities: Any) -> None:
    right = decode(photo("rocket").read_bytes())
    wrong = np.stack([right[..., ::-1], (right * 128 + 127) / 255])
    assert np.all(np.abs(probabilities(wrong)[:, MISSILE] - 0.296) > 0.02)
