"""expected.json and the folder around it: what is accepted, and what each fault is called."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.scoring.golden import expected
from shared.scoring.golden.expected import Photograph, load, parse


def document(value: Any = None, **members: Any) -> bytes:
    """A document with one photograph, ``cat.png``."""
    return json.dumps({"photographs": {"cat.png": value or {"class": 1}}, **members}).encode()


def test_every_form_of_expectation_is_read() -> None:
    text = json.dumps(
        {
            "tolerance": 0.1,
            "photographs": {
                "a.png": {"label": "cat", "class": 2, "score": 0.5, "tolerance": 0},
                "b.jpg": {"class": 0},
                "c.jpg": {"outputs": {"boxes": [[1, 2.5], [3, 4]]}},
            },
        }
    )

    one, two, three = parse(text.encode())

    assert one == Photograph("a.png", 0.0, "cat", 2, 0.5)
    assert two == Photograph("b.jpg", 0.1, None, 0)
    assert (three.file, three.tolerance, three.label, three.score) == ("c.jpg", 0.1, None, None)
    assert np.array_equal(three.outputs["boxes"], np.array([[1, 2.5], [3, 4]], np.float32))


def test_without_a_tolerance_there_is_a_default() -> None:
    assert parse(document())[0].tolerance == 0.02


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", 'no object "photographs"'),
        (b'{"photographs": {}}', "at least one file name"),
        (document(more=1), "the document has unknown members: 'more'; known are: photographs, tolerance"),
        (document(tolerance="2"), "the document has a tolerance that is not a number"),
        (document(tolerance=-1), "the document has a tolerance that is not a number, or out of range"),
        (document([1]), "'cat.png' is not an object"),
        (document({"lable": "cat"}), "'cat.png' has unknown members: 'lable'"),
        (document({"score": 1}), "'cat.png' needs either a label or a class, or outputs by name"),
        (document({"class": 1, "outputs": {"a": [1]}}), "'cat.png' needs either a label or a class, or outputs"),
        (document({"class": True}), "a class that is no index from 0"),
        (document({"class": -1}), "a class that is no index from 0"),
        (document({"class": 1, "score": float("nan")}), "'cat.png' has a score that is not a number"),
        (document({"class": 1, "score": 10**400}), "'cat.png' has a score that is not a number"),
        (document({"class": 1, "score": True}), "'cat.png' has a score that is not a number"),
        (document({"outputs": {"a": [[1], [2, 3]]}}), "the output 'a' of 'cat.png' is not a list of numbers"),
        (document({"outputs": {"a": []}}), "the output 'a' of 'cat.png' is not a list of numbers"),
        (document({"outputs": {"a": [None]}}), "the output 'a' of 'cat.png' is not a list of numbers"),
        (document({"outputs": {"a": 1}}), "the output 'a' of 'cat.png' is not a list of numbers"),
        (document({"outputs": {"a": [0] * 100_001}}), "has 100001 numbers; 100000 are accepted"),
        (b'{"photographs": {"../cat.png": {"class": 1}}}', "'../cat.png' is not the name of a file in the folder"),
        (b'{"photographs": {"": {"class": 1}}}', "'' is not the name of a file in the folder"),
        (json.dumps({"photographs": {f"{n}.png": {"class": 1} for n in range(33)}}).encode(), "33 photographs; 32 are"),
        (b" " * 4_000_001, "of more than 4000000 bytes"),
    ],
)
def test_a_fault_is_named(text: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=r"^has an expected\.json") as caught:
        parse(text)
    assert fault in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_folder_is_loaded_and_its_photographs_are_read(tmp_path: Path) -> None:
    (tmp_path / "expected.json").write_bytes(document())
    (tmp_path / "cat.png").write_bytes(b"a cat")

    (one,) = load(tmp_path)

    assert expected.read(tmp_path, one) == b"a cat"


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(folder: Path = tmp_path) -> str:
        with pytest.raises(ValueError, match=r".") as caught:
            load(folder)
        return str(caught.value)

    assert "is not a folder" in fault(tmp_path / "missing")
    assert "has no expected.json: write one, or let `scoring-client golden record` do it" in fault()
    (tmp_path / "expected.json").write_bytes(document())
    assert fault() == "lacks photographs that its expected.json names: 'cat.png'"
    (tmp_path / "cat.png").write_bytes(b"a cat")
    monkeypatch.setattr(expected, "MAX_BYTES", 4)
    assert fault() == "has photographs of 5 bytes; 4 are accepted"
    (tmp_path / "expected.json").unlink()
    (tmp_path / "expected.json").mkdir()
    assert "cannot be read: Is a directory" in fault()
