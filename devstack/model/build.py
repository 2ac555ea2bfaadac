"""The ONNX file: built once from the weights, then reused as long as it is whole and up to date."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import onnx

from devstack.model import graph, weights

# Raise this when graph.py changes what it builds: files built before are then built again.
_RECIPE = 1


def default_path() -> Path:
    """Where the local stack keeps the file, below the checkout."""
    return Path(__file__).resolve().parents[2] / ".devstack" / "model" / "efficientnet-lite0.onnx"


def ensure_built(path: Path | None = None) -> Path:
    """Make sure that ``path`` holds the model, and return it.

    Building takes about half a second; a file that is there is reused after a check of its digest. Two processes may
    build at once: both write the same bytes, and each file appears whole or not at all.

    Raises:
        WeightsError: the published weights are missing or damaged.
    """
    path = path or default_path()
    if not is_current(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = graph.model(weights.load())
        _write(path, data)
        _write(_note(path), json.dumps(_description(data), indent=2).encode())
    return path


def is_current(path: Path) -> bool:
    """Whether ``path`` holds, undamaged, what this version of the code would build."""
    try:
        data = path.read_bytes()
        note = json.loads(_note(path).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(note == _description(data))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _description(data: bytes) -> dict[str, str | int]:
    """What a file was built from, and the digest that it must have."""
    return {
        "recipe": _RECIPE,
        "onnx": onnx.__version__,
        "weights": weights.SHA256,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _write(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, so that nobody reads half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
