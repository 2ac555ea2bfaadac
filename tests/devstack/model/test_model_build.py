import json
from pathlib import Path

import pytest

from devstack.model import build, graph, weights


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was built; the network in it is a small one, since the tests look at the file alone."""
    monkeypatch.setattr(weights, "load", dict)
    monkeypatch.setattr(graph, "model", lambda _weights: b"a network")
    return build.ensure_built(tmp_path / "below" / "model.onnx")


def test_the_folder_is_made_and_nothing_else_is_left_in_it(built: Path) -> None:
    assert built.read_bytes() == b"a network"
    assert sorted(file.name for file in built.parent.iterdir()) == ["model.json", "model.onnx"]


def test_a_file_that_fits_is_reused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "model", lambda _weights: pytest.fail("built again"))
    assert build.ensure_built(built) == built


@pytest.mark.parametrize("damage", ["file cut", "file gone", "note cut", "note gone"])
def test_what_is_damaged_is_built_again(built: Path, damage: str) -> None:
    what, how = damage.split()
    file = built if what == "file" else built.with_suffix(".json")
    file.unlink() if how == "gone" else file.write_bytes(file.read_bytes()[:-1])
    assert not build.is_current(built)
    build.ensure_built(built)
    assert build.is_current(built)


@pytest.mark.parametrize("name", ["recipe", "onnx", "weights"])
def test_what_was_built_from_something_else_is_built_again(built: Path, name: str) -> None:
    note = built.with_suffix(".json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {name: "another"}))
    assert not build.is_current(built)


def test_a_build_that_fails_leaves_the_old_file(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = built.with_suffix(".json")
    note.unlink()

    def full(_path: Path, _target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(graph, "model", lambda _weights: b"another network")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="the disk is full"):
        build.ensure_built(built)
    assert [file.name for file in built.parent.iterdir()] == ["model.onnx"]
    assert built.read_bytes() == b"a network"
