"""A folder of golden photographs: image files, and ``expected.json``, which says what the model must make of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.quoting import listed, printable

FILE = "expected.json"

# What a folder may have: photographs, bytes of all of them and of expected.json, and numbers of one output.
MAX_PHOTOGRAPHS, MAX_BYTES, MAX_EXPECTED_BYTES, MAX_VALUES = 32, 64_000_000, 4_000_000, 100_000

_LARGEST = 1e30

# Between two libraries' resizing and JPEG decoding, a probability usually differs by less.
TOLERANCE = 0.02

_MEMBERS = frozenset({"tolerance", "photographs"})
_OF_PHOTOGRAPH = frozenset({"label", "class", "score", "tolerance", "outputs"})


@dataclass(frozen=True)
class Photograph:
    """What the model must make of one photograph: a score of a class, or outputs by name.

    The class has a ``label``, an ``index`` or both; without a ``score`` it must be the best one. ``tolerance`` is the
    largest difference of a score, and for an output a share of its largest value.
    """

    file: str
    tolerance: float = TOLERANCE
    label: str | None = None
    index: int | None = None
    score: float | None = None
    outputs: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def load(folder: Path) -> tuple[Photograph, ...]:
    """The photographs that the folder's ``expected.json`` describes.

    Raises:
        ValueError: it cannot be used; the message continues a sentence about the folder.
    """
    try:
        if not folder.is_dir():
            raise ValueError("is not a folder (a relative path starts at the app's folder)")
        with (folder / FILE).open("rb") as file:
            text = file.read(MAX_EXPECTED_BYTES + 1)
        found = parse(text)
        sizes = [(folder / one.file).stat().st_size if (folder / one.file).is_file() else -1 for one in found]
    except FileNotFoundError:
        raise ValueError(f"has no {FILE}: write one, or let `scoring-client golden record` do it") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if missing := [one.file for one, size in zip(found, sizes, strict=True) if size < 0]:
        raise ValueError(f"lacks photographs that its {FILE} names: {listed(missing)}")
    if sum(sizes) > MAX_BYTES:
        raise ValueError(f"has photographs of {sum(sizes)} bytes; {MAX_BYTES} are accepted")
    return found


def read(folder: Path, photograph: Photograph) -> bytes:
    """The bytes of a photograph; of one that grew since the folder was loaded only the first.

    Raises:
        OSError: it cannot be read.
    """
    with (folder / photograph.file).open("rb") as file:
        return file.read(MAX_BYTES)


def parse(text: bytes) -> tuple[Photograph, ...]:
    """The photographs in the text of an ``expected.json``.

    Raises:
        ValueError: it is not of the documented form; the message continues a sentence about its folder.
    """
    if len(text) > MAX_EXPECTED_BYTES:
        raise ValueError(f"has an {FILE} of more than {MAX_EXPECTED_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"has an {FILE} that is not JSON") from None
    try:
        return _photographs(document)
    except ValueError as error:
        raise ValueError(f"has an {FILE} in which {error}") from None


def _photographs(document: Any) -> tuple[Photograph, ...]:
    found = document.get("photographs") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not found:
        raise ValueError('there is no object "photographs" with at least one file name')
    _check_members(document, _MEMBERS, "the document")
    if len(found) > MAX_PHOTOGRAPHS:
        raise ValueError(f"there are {len(found)} photographs; {MAX_PHOTOGRAPHS} are accepted")
    tolerance = _number(document, "tolerance", TOLERANCE, "the document")
    return tuple(_photograph(name, one, tolerance) for name, one in found.items())


def _photograph(name: str, value: Any, tolerance: float) -> Photograph:
    where = repr(printable(name, 60))
    if not name or "/" in name or "\\" in name or name in {".", ".."} or not name.isprintable():
        raise ValueError(f"{where} is not the name of a file in the folder")
    if not isinstance(value, dict):
        raise ValueError(f"{where} is not an object")
    _check_members(value, _OF_PHOTOGRAPH, where)
    label, index, outputs = value.get("label"), value.get("class"), value.get("outputs", {})
    if not isinstance(label, str | None) or not (index is None or (type(index) is int and index >= 0)):
        raise ValueError(f"{where} has a label that is no text, or a class that is no index from 0")
    if not isinstance(outputs, dict) or bool(outputs) is not (label is None and index is None):
        raise ValueError(f"{where} needs either a label or a class, or outputs by name")
    return Photograph(
        file=name,
        tolerance=_number(value, "tolerance", tolerance, where),
        label=label,
        index=index,
        score=_number(value, "score", 0.0, where) if "score" in value else None,
        outputs={key: _array(one, f"the output {printable(key, 40)!r} of {where}") for key, one in outputs.items()},
    )


def _check_members(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if unknown := sorted(set(value) - known):
        raise ValueError(f"{where} has unknown members: {listed(unknown)}; known are: {', '.join(sorted(known))}")


def _number(value: Mapping[str, Any], name: str, default: float, where: str) -> float:
    found = value.get(name, default)
    # A comparison, because a whole number of hundreds of digits cannot be converted.
    if type(found) not in {int, float} or not abs(found) <= _LARGEST or (name == "tolerance" and found < 0):
        raise ValueError(f"{where} has a {name} that is not a number, or out of range")
    return float(found)


def _array(value: Any, where: str) -> npt.NDArray[np.float32]:
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0)
    if not isinstance(value, list) or not found.size or not np.isfinite(found).all():
        raise ValueError(f"{where} is not a list of numbers, nested evenly")
    if found.size > MAX_VALUES:
        raise ValueError(f"{where} has {found.size} numbers; {MAX_VALUES} are accepted")
    return found.astype(np.float32)
