"""Zip archives of models, as the control plane registers them."""

import io
import json
import zipfile
from typing import Any

from onnx import TensorProto, helper

MANIFEST: dict[str, Any] = {
    "format": 1,
    "model": "mean.onnx",
    "labels": "colours.txt",
    "input": {"name": "pixels", "forms": ["encoded", "tensor"]},
    "output": {"name": "scores", "form": "logits"},
    "preprocessing": {"mean": [0, 0, 0], "scale": [1, 1, 1], "order": "RGB"},
}


def mean_colour_model(side: int = 224, inputs: tuple[str, ...] = ("pixels",)) -> bytes:
    """An ONNX model whose three scores are the means of the three channels."""
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side, side, 3]) for name in inputs]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node("ReduceMean", [inputs[0]], ["scores"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph([node], "mean", declared, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def archive(manifest: Any = None, **members: bytes | None) -> bytes:
    """An archive of that model; members are replaced by name (``_`` for ``.``), or left out by None."""
    contents: dict[str, bytes | None] = {
        "manifest.json": json.dumps(MANIFEST if manifest is None else manifest).encode(),
        "mean.onnx": mean_colour_model(),
        "colours.txt": b"red\ngreen\nblue\n",
    }
    contents |= {name.replace("_", "."): content for name, content in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            if content is not None:
                packed.writestr(name, content)
    return buffer.getvalue()
