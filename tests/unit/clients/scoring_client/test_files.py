"""Finding and reading the files to send."""

import os
from itertools import islice
from pathlib import Path

import pytest
from scoring_client import files
from scoring_client.files import Unreadable, read, walk


def names(*paths: object) -> list[str]:
    return [source.name for source in walk(map(str, paths))]


def test_folders_are_searched_recursively_in_order(photos: Path) -> None:
    assert names(photos) == [str(photos / name) for name in ("a.PNG", "b.jpg", "deep/e.webp", "deep/er/d.heic")]


def test_named_files_are_not_filtered(photos: Path) -> None:
    named = [photos / "notes.txt", photos / ".hidden.jpg", photos / "nowhere.jpg"]

    assert names(*named, "-") == [*map(str, named), "-"]


def test_relative_paths_are_unchanged(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)

    assert names("photos/deep", "./photos/b.jpg") == ["photos/deep/e.webp", "photos/deep/er/d.heic", "./photos/b.jpg"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(photos: Path) -> None:
    (photos / "link.jpg").symlink_to(photos / "b.jpg")
    (photos / "loop").symlink_to(photos)
    (photos / "folder.jpg").mkdir()

    assert [Path(name).name for name in names(photos)] == ["a.PNG", "b.jpg", "link.jpg", "e.webp", "d.heic"]


def test_a_deleted_folder_is_reported_and_the_other_files_are_found(photos: Path) -> None:
    found = walk([str(photos)])
    first = list(islice(found, 2))
    for file in sorted((photos / "deep").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (photos / "deep").rmdir()

    (missing,) = list(found)

    assert [Path(source.name).name for source in first] == ["a.PNG", "b.jpg"]
    assert missing.problem
    assert missing.problem.sentence == "The file cannot be read: No such file or directory."


def test_all_files_of_a_large_folder_are_found(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SORTED", 2)

    assert sorted(names(photos)) == sorted(
        str(photos / name) for name in ("a.PNG", "b.jpg", "deep/e.webp", "deep/er/d.heic")
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _file: None, "The file cannot be read: No such file or directory."),
        (lambda file: file.mkdir(), "The file cannot be read: Is a directory."),
        (lambda file: file.touch(), "The file is empty."),
        (lambda file: os.truncate(_touched(file), files.MAX_BYTES + 1), "The file is too large:"),
    ],
    ids=["missing", "a folder", "empty", "too large"],
)
def test_unreadable_files_are_rejected(tmp_path: Path, make: object, message: str) -> None:
    file = tmp_path / "cat.jpg"
    assert callable(make)
    make(file)

    with pytest.raises(Unreadable, match=message):
        read(str(file))


def _touched(file: Path) -> Path:
    file.touch()
    return file
