"""Compares a model's output with what is expected of it. Decisions only, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.quoting import listed, printable
from shared.scoring import labels
from shared.scoring.golden.expected import Photograph
from shared.settings import Activation

type Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """How an output becomes scores: the function that is applied to it, the names of its classes, and where they are.

    The expected class n is looked for at ``n + shift``.
    """

    activation: Activation
    names: tuple[str, ...]
    shift: int = 0


def deviation(expected: Photograph, outputs: Mapping[str, Floats], reading: Reading) -> str:
    """How the outputs for a photograph deviate from what is expected, in words; empty where they do not.

    ``outputs`` are those of one image, by name, without the dimension of the images.
    """
    if expected.outputs:
        found = (_of_output(name, values, expected.tolerance, outputs) for name, values in expected.outputs.items())
        return next(filter(None, found), "")
    if len(outputs) != 1:
        return f"the service has the outputs {listed(sorted(outputs))}, and a class belongs to a single one"
    scores = next(iter(outputs.values())).reshape(-1)
    return _of_class(expected, labels.activated(scores, reading.activation), reading)


def _of_output(name: str, expected: Floats, tolerance: float, outputs: Mapping[str, Floats]) -> str:
    found = outputs.get(name)
    if found is None:
        return f"the service has no output {printable(name, 40)!r}; it has {listed(sorted(outputs))}"
    # Training code may have the dimension of the images, or lack dimensions of one: the numbers are what counts.
    if found.size != expected.size:
        return (
            f"the output {printable(name, 40)!r} has the shape {list(found.shape)}; {list(expected.shape)} is expected"
        )
    differences = np.abs(found.reshape(-1) - expected.reshape(-1))
    worst = int(differences.argmax())
    if differences[worst] <= tolerance * max(float(np.abs(expected).max()), 1e-6):
        return ""
    is_ = f"value {worst} of the output {printable(name, 40)!r} is {found.reshape(-1)[worst]:.4g}"
    return f"{is_}; {expected.reshape(-1)[worst]:.4g} is expected"


def _of_class(expected: Photograph, scores: Floats, reading: Reading) -> str:
    names = reading.names
    candidates = _classes(expected, reading)
    if not candidates:
        return f"the label {printable(expected.label or '', 40)!r} is not in LABELS"
    if expected.index is not None and expected.label is not None and reading.shift == 0:
        named = names[expected.index] if expected.index < len(names) else ""
        if named != expected.label:
            expectation = f"{printable(expected.label, 40)!r} is expected"
            return f"class {expected.index} is {printable(named, 40)!r} in LABELS; {expectation}"
    places = [index + reading.shift for index in candidates if 0 <= index + reading.shift < scores.size]
    what = _named(candidates[0], names)
    if not places:
        return f"{what} is expected; the service has {scores.size} classes"
    best = int(scores.argmax())
    found = float(scores[places].max())
    better = "" if best in places else f"; the best is {_named(best, names)} with {scores[best]:.4f}"
    if expected.score is None:
        return f"{what} is expected to be the best; it has {found:.4f}{better}" if better else ""
    if abs(found - expected.score) <= expected.tolerance:
        return ""
    return f"{what} has {found:.4f}; {expected.score:.4f} ± {expected.tolerance:g} is expected{better}"


def _classes(expected: Photograph, reading: Reading) -> list[int]:
    """The indices that are meant; several where classes share a name.

    Of a label and an index, the label is what a shift of the names is about.
    """
    if expected.index is not None and (expected.label is None or reading.shift == 0):
        return [expected.index]
    return [index for index, name in enumerate(reading.names) if name == expected.label]


def _named(index: int, names: tuple[str, ...]) -> str:
    return f"{printable(names[index], 40)!r} (class {index})" if index < len(names) else f"class {index}"
