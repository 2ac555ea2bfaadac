"""The names of a model's classes, and the ranking of its scores."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.errors import Misconfigured
from shared.scoring.types import Label, Ranking
from shared.settings import APP_ROOT, Activation

_WITH_BACKGROUND = "imagenet-background"
_BUILT_IN = Path(__file__).parent / "label_lists"

# Up to this count the maxima of a thousand scores are found faster one by one than by sorting.
_FEW = 10


@functools.cache
def load(source: str, setting: str = "LABELS") -> tuple[str, ...]:
    """The names in index order: of a built-in list, or of a file in the app.

    ``imagenet`` is built in, and ``imagenet-background``, TensorFlow's, whose class 0 is the background.
    A file is UTF-8 with one name a line; a relative path starts at the app's folder.

    Raises:
        Misconfigured: there is no such list or file; it names the setting.
    """
    if source == _WITH_BACKGROUND:
        return ("background", *load("imagenet"))
    built_in = _BUILT_IN / f"{source}.txt"
    path = built_in if "/" not in source and built_in.is_file() else APP_ROOT / source
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{setting} is {source!r}, which is neither imagenet, imagenet-background, service nor a file of"
            " UTF-8 text in the app (a relative path starts at the app's folder).",
            settings=[setting],
        ) from error


def activated(values: npt.NDArray[np.float32], function: Activation) -> npt.NDArray[np.float32]:
    """The scores of a model's values, along the last axis; the same shape and dtype."""
    if function is Activation.SOFTMAX:
        return softmax(values)
    if function is Activation.SIGMOID:
        # Half of the hyperbolic tangent, which does not overflow.
        return np.float32(0.5) * np.tanh(np.float32(0.5) * values) + np.float32(0.5)
    return values


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of logits, along the last axis; the same shape and dtype."""
    powers: npt.NDArray[np.float32] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def rank(scores: npt.NDArray[np.float32], names: tuple[str, ...], ranking: Ranking) -> list[Label]:
    """The best classes of one image, best first; among equal scores the lower index first.

    Args:
        scores: ``[classes]``.
        names: the classes' names; a class beyond them is named by its index.
        ranking: how many, and the lowest score.
    """
    count, named = min(ranking.top or scores.size, scores.size), len(names)
    found = list[Label]()
    for index, score in _best(scores, count) if count <= _FEW else _sorted(scores, count):
        if score < ranking.threshold:
            break
        found.append(Label(index, names[index] if index < named else str(index), round(score, 6)))
    return found


def _best(scores: npt.NDArray[np.float32], count: int) -> Iterator[tuple[int, float]]:
    remaining = scores.copy()
    for _ in range(count):
        index = int(remaining.argmax())  # the first of equals
        yield index, scores.item(index)
        remaining[index] = -np.inf


def _sorted(scores: npt.NDArray[np.float32], count: int) -> Iterator[tuple[int, float]]:
    for index in (-scores).argsort(kind="stable")[:count].tolist():
        yield index, scores.item(index)
