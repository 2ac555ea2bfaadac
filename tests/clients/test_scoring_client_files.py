"""Which files the command-line client finds, and which it refuses to send."""

import os
import sys
from itertools import islice
from pathlib import Path

import pytest
from scoring_client import files
from scoring_client.__main__ import main
from scoring_client.files import Unreadable, read, walk

from tests.clients.conftest import Server


def names(*paths: object) -> list[str]:
    return [source.name for source in walk(map(str, paths))]


def test_a_folder_and_all_below_it_in_order(photos: Path) -> None:
    assert names(photos) == [str(photos / name) for name in ("a.PNG", "b.jpg", "deep/e.webp", "deep/er/d.heic")]


def test_named_files_come_as_they_are(photos: Path) -> None:
    named = [photos / "notes.txt", photos / ".hidden.jpg", photos / "nowhere.jpg"]

    assert names(*named, "-") == [*map(str, named), "-"]


def test_paths_keep_the_form_in_which_they_were_given(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)

    assert names("photos/deep", "./photos/b.jpg") == ["photos/deep/e.webp", "photos/deep/er/d.heic", "./photos/b.jpg"]


def test_links_to_files_count_and_links_to_folders_do_not(photos: Path) -> None:
    (photos / "link.jpg").symlink_to(photos / "b.jpg")
    (photos / "round").symlink_to(photos)
    (photos / "folder.jpg").mkdir()

    assert [Path(name).name for name in names(photos)] == ["a.PNG", "b.jpg", "link.jpg", "e.webp", "d.heic"]


def test_a_folder_that_vanishes_is_a_failure_and_the_rest_goes_on(photos: Path) -> None:
    found = walk([str(photos)])
    first = list(islice(found, 2))
    for file in sorted((photos / "deep").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (photos / "deep").rmdir()

    (missing,) = list(found)

    assert [Path(source.name).name for source in first] == ["a.PNG", "b.jpg"]
    assert missing.problem
    assert missing.problem.sentence == "The file cannot be read: No such file or directory."


def test_a_folder_is_read_a_part_at_a_time(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SORTED", 2)

    assert sorted(names(photos)) == sorted(
        str(photos / name) for name in ("a.PNG", "b.jpg", "deep/e.webp", "deep/er/d.heic")
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _file: None, "The file cannot be read: No such file or directory."),
        (lambda file: file.mkdir(), "The file cannot be read: Is a directory."),
        (lambda file: file.touch(), "The file is empty."),
        (lambda file: os.truncate(_touched(file), files.MAX_BYTES + 1), "The file is too large:"),
    ],
    ids=["nothing", "a folder", "empty", "huge"],
)
def test_what_cannot_be_sent(tmp_path: Path, make: object, words: str) -> None:
    file = tmp_path / "cat.jpg"
    assert callable(make)
    make(file)

    with pytest.raises(Unreadable, match=words):
        read(str(file))


def _touched(file: Path) -> Path:
    file.touch()
    return file


def test_a_folder_without_images(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no image is there" in capsys.readouterr().err
    assert not server.requests


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no such names")
def test_names_that_are_not_utf8_are_written_and_read_again(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "photos", tmp_path / "out.jsonl"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(b"coffee")

    assert main(["--out", str(output), str(folder)]) == 0
    assert main(["--out", str(output), "--resume", str(folder)]) == 0
    assert main([str(folder)]) == 0

    assert len(server.requests) == 2
    assert output.read_bytes().isascii()
    assert "caf\N{REPLACEMENT CHARACTER}.jpg" in capsys.readouterr().out
