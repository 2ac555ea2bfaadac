"""Loading class names and ranking scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import Misconfigured
from shared.scoring import labels
from shared.scoring.labels import load, rank, softmax
from shared.scoring.types import Label, Ranking
from shared.settings import Activation

NAMES = ("ant", "bee", "cat", "dog")


def scores(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_labels_are_sorted_by_descending_score() -> None:
    assert rank(scores(0.25, 0.0, 0.5, 0.125), NAMES, Ranking(top=2)) == [Label(2, "cat", 0.5), Label(0, "ant", 0.25)]


def test_equal_scores_are_sorted_by_index() -> None:
    assert [label.id for label in rank(scores(0.1, 0.4, 0.1, 0.4), NAMES, Ranking(top=3))] == [1, 3, 0]


def test_labels_below_the_threshold_are_omitted() -> None:
    assert [label.id for label in rank(scores(0.1, 0.5, 0.4, 0), NAMES, Ranking(threshold=0.45))] == [1]
    assert [label.id for label in rank(scores(0.1, 0.5, 0.25, 0), NAMES, Ranking(threshold=0.25))] == [1, 2]


def test_the_ends_of_the_threshold_s_range_are_inclusive() -> None:
    assert [label.id for label in rank(scores(0.0, 1.0), NAMES, Ranking(threshold=0.0))] == [1, 0]
    assert [label.id for label in rank(scores(0.0, 1.0), NAMES, Ranking(threshold=1.0))] == [1]


def test_scores_are_rounded_to_six_digits() -> None:
    label, other = rank(scores(0.1234567, 0.0000004), NAMES, Ranking())

    assert (label.score, other.score) == (0.123457, 0.0)


@pytest.mark.parametrize("top", [1, 9, 10, 11, 20])
def test_few_and_many_labels_have_the_same_order(top: int) -> None:
    many = scores(*(number % 7 for number in range(30)))

    expected = sorted(range(30), key=lambda index: (-(index % 7), index))
    assert [label.id for label in rank(many, NAMES, Ranking(top=top))] == expected[:top]


def test_classes_without_any_score_are_each_returned_once() -> None:
    assert [label.id for label in rank(scores(0, 0, 0, 0), NAMES, Ranking(top=3))] == [0, 1, 2]


@pytest.mark.parametrize(("top", "sorted_"), [(10, False), (11, True)])
def test_only_many_labels_take_a_sort_of_all_scores(monkeypatch: pytest.MonkeyPatch, top: int, sorted_: bool) -> None:
    found: list[int] = []
    best = labels._best

    def counted(*arguments: Any) -> Iterator[tuple[int, float]]:
        found.append(1)
        return best(*arguments)

    monkeypatch.setattr(labels, "_best", counted)
    rank(scores(*range(30)), NAMES, Ranking(top=top))

    assert (not found) is sorted_


def test_softmax_is_along_the_last_axis() -> None:
    rows = softmax(np.array([[0, 0], [1, 1], [0, np.log(3)]], dtype=np.float32))

    assert rows.tolist() == [[0.5, 0.5], [0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize("top", [0, 4, 999])
def test_zero_or_more_than_all_labels_returns_all(top: int) -> None:
    assert len(rank(scores(0.1, 0.2, 0.3, 0.4), NAMES, Ranking(top=top))) == 4


def test_a_class_without_a_name_is_named_by_its_index() -> None:
    assert rank(scores(0, 0, 0, 0, 1), NAMES, Ranking(top=1)) == [Label(4, "4", 1.0)]


def test_softmax_sums_to_one_for_large_logits() -> None:
    probabilities = softmax(scores(1000, 1001, -1000))

    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[1] / probabilities[0] == pytest.approx(np.e, rel=1e-4)


def test_the_built_in_labels_are_the_classes_of_imagenet() -> None:
    names = load("imagenet")

    assert len(names) == 1000
    assert names[967] == "espresso"


def test_custom_labels_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pets.txt"
    file.write_text("chat\nchien\npoisson rouge é\n", encoding="utf-8")

    assert load(str(file)) == ("chat", "chien", "poisson rouge é")
    assert load(str(file)) is load(str(file)), "a file is read once"


def test_a_relative_path_of_labels_starts_at_the_app_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "APP_ROOT", tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "imagenet").write_text("cat\n")
    (tmp_path / "pets.txt").write_text("chat\nchien\n")

    # Another name each: names are read once.
    assert load("pets.txt") == ("chat", "chien")
    assert load("own/imagenet") == ("cat",)


@pytest.mark.parametrize("path", ["nowhere.txt", "../nowhere", "labels"])
def test_a_missing_labels_file_is_a_misconfiguration(path: str) -> None:
    with pytest.raises(Misconfigured, match="LABELS"):
        load(path)


def test_tensorflow_s_classes_begin_with_the_background() -> None:
    names = load("imagenet-background")

    assert len(names) == 1001
    assert names[:2] == ("background", load("imagenet")[0])


def test_a_sigmoid_is_that_of_each_value_without_an_overflow() -> None:
    values = np.array([-200, -2, 0, 0.5, 200], np.float32)

    found = labels.activated(values, Activation.SIGMOID)

    assert found.dtype == np.float32
    assert np.allclose(found, [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-0.5)), 1], atol=1e-6)
