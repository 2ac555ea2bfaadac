"""Runs in Triton's own process, as the file ``model.py`` of each model: the local model, by onnxruntime.

Nothing of this project is importable there. A file becomes what the local service makes of it: the short side is
resized to 256 pixels, the centre is cut out, and pixels are normalised as ``(value - 127) / 128``. Pictures of UINT8
are normalised too, those of FP32 are taken as they are.
"""

import io
import json
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb  # type: ignore[import-not-found]  # of Triton
from PIL import Image

SIDE, SHORT = 224, 256


class TritonPythonModel:
    """Triton's name for what it loads."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.batched = config["max_batch_size"] > 0
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            config["parameters"]["onnx"]["string_value"], options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        try:
            pixels = self.pixels(pb.get_input_tensor_by_name(request, "image").as_numpy())
        except (OSError, ValueError, SyntaxError) as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error), pb.TritonError.INVALID_ARG))
        scores = self.session.run(["probabilities"], {self.session.get_inputs()[0].name: pixels})[0]
        scores = scores.reshape(len(pixels), -1)
        return pb.InferenceResponse([pb.Tensor("scores", scores if self.batched else scores[0])])

    def pixels(self, found: Any) -> Any:
        """Float32 ``[N, 224, 224, 3]``, normalised."""
        if found.dtype == np.object_:
            found = np.stack([decoded(file) for file in found.reshape(-1)])
        if not self.batched:
            found = found[np.newaxis]
        if found.dtype == np.uint8:
            return (found.astype(np.float32) - 127) / 128
        return np.ascontiguousarray(found.transpose(0, 2, 3, 1))


def decoded(file: bytes) -> Any:
    """The pixels of a file, UINT8 ``[224, 224, 3]``."""
    image = Image.open(io.BytesIO(file)).convert("RGB")
    scale = SHORT / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))
