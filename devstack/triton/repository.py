"""Triton's model repository: the local model with three inputs, for image files and for pictures in two layouts."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from devstack.files import write_atomically

BACKEND = Path(__file__).parent / "backend.py"
LABELS = "labels.txt"


class _Model(NamedTuple):
    """A model's input: its datatype, its dimensions without that of the batch, and the most images in a call."""

    datatype: str
    dims: Sequence[int]
    max_batch: int = 8


# By their names in the repository.
MODELS = {
    "files": _Model("STRING", [1]),
    "nhwc-uint8": _Model("UINT8", [224, 224, 3]),
    "nchw-fp32": _Model("FP32", [3, 224, 224]),
    "one-at-a-time": _Model("UINT8", [224, 224, 3], 0),
}

_CONFIGURATION = """\
name: "{name}"
backend: "python"
max_batch_size: {max_batch}
input [{{ name: "image", data_type: TYPE_{datatype}, dims: [{dims}] }}]
output [{{ name: "scores", data_type: TYPE_FP32, dims: [1000], label_filename: "{labels}" }}]
instance_group [{{ kind: KIND_CPU, count: 1 }}]
parameters {{ key: "onnx", value: {{ string_value: "{onnx}" }} }}
"""


def write_repository(
    folder: Path, packages: Path, onnx: Path, labels: Path, names: Sequence[str] = tuple(MODELS)
) -> None:
    """Write the repository of some ``MODELS``, which run an ONNX file with the packages in a folder."""
    # Triton's processes have a path of their own, whatever PYTHONPATH says.
    code = f"import sys\n\nsys.path.insert(0, {str(packages)!r})\n{BACKEND.read_text(encoding='utf-8')}"
    for name in names:
        model = MODELS[name]
        version = folder / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        write_atomically(version / "model.py", code.encode())
        shutil.copyfile(labels, folder / name / LABELS)
        text = _CONFIGURATION.format(
            name=name,
            max_batch=model.max_batch,
            datatype=model.datatype,
            dims=", ".join(map(str, model.dims)),
            labels=LABELS,
            onnx=onnx,
        )
        write_atomically(folder / name / "config.pbtxt", text.encode())
