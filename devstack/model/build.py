"""The ONNX file: built once from the weights, then reused while it is undamaged and up to date."""

import hashlib
import json
from pathlib import Path

import onnx

from devstack.files import write_atomically
from devstack.model import graph, weights

# Increase this when graph.py changes its result: older files are then rebuilt.
_RECIPE = 1


def default_path() -> Path:
    """Where the local stack keeps the file, below the checkout."""
    return Path(__file__).resolve().parents[2] / ".devstack" / "model" / "efficientnet-lite0.onnx"


def ensure_built(path: Path | None = None) -> Path:
    """Build the model at ``path`` unless it is there, and return the path.

    Building takes about half a second; an existing file is reused after a check of its digest. Two processes may build
    at once: both write the same bytes, atomically.

    Raises:
        WeightsError: the published weights are missing or damaged.
    """
    path = path or default_path()
    if not is_current(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = graph.model(weights.load())
        write_atomically(path, data)
        write_atomically(_note(path), json.dumps(_description(data), indent=2).encode())
    return path


def is_current(path: Path) -> bool:
    """Whether the file is what this version of the code would build."""
    try:
        data = path.read_bytes()
        note = json.loads(_note(path).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(note == _description(data))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _description(data: bytes) -> dict[str, str | int]:
    """What a file was built from, and its digest."""
    return {
        "recipe": _RECIPE,
        "onnx": onnx.__version__,
        "weights": weights.SHA256,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
