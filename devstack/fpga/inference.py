"""One output of an ONNX model, computed by onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class ModelError(ValueError):
    """An ONNX file cannot be served; the message is one line."""


class Session:
    """A model with a single input, float32 [N, 224, 224, 3], and one of its outputs.

    ``size`` is the number of values in the output for one image.

    Raises:
        ModelError: the file cannot be loaded, or has another input or no such output.
    """

    def __init__(self, path: Path, output: str) -> None:
        self._path = path
        self._output = output
        self._session = _open(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].shape[1:] != [224, 224, 3] or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
            raise ModelError(f"{path} has the inputs {found}; one of float [N,224,224,3] is needed")
        self._input = inputs[0].name
        self.size = self._size_of(output)

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output, float32 [N, size]. Blocks for about 6 ms an image."""
        result: NDArray[np.float32] = self._session.run([self._output], {self._input: pixels})[0]
        return result.reshape(len(pixels), self.size)

    def _size_of(self, output: str) -> int:
        shapes = {value.name: value.shape for value in self._session.get_outputs()}
        if output not in shapes:
            raise ModelError(f"{self._path} has no output {output!r}; it has {', '.join(shapes)}")
        sizes = shapes[output][1:]
        if not sizes or not all(isinstance(size, int) for size in sizes):
            raise ModelError(f"{self._path}: the output {output!r} has no fixed size: {shapes[output]}")
        return int(np.prod(sizes))

    def __repr__(self) -> str:
        return f"<Session {self._path.name} {self._output} [N,{self.size}]>"


def _open(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread: the gateway runs on the same machine.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise ModelError(f"{path} cannot be loaded: {str(error).splitlines()[0]}") from None
