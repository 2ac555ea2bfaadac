"""A program for :mod:`tests.support.kserve`: KServe's own server with one model, which says what it was sent.

The model takes UINT8 ``[-1,16,16,3]``. Its scores are the means of red, green and blue in the upper left quarter, then
in the lower right one, from 0 to 1: swapped channels, axes or another layout give others. KServe answers in typed
contents.
"""

import sys

import numpy as np

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # type: ignore[import-not-found,unused-ignore]

NAME, SIDE = "quarters", 16


class Quarters(Model):  # type: ignore[misc,unused-ignore]  # in a process of its own, with packages of its own
    """KServe's name for what it serves."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.ready = True

    def get_input_types(self) -> list[dict[str, object]]:
        return [{"name": "picture", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}]

    def get_output_types(self) -> list[dict[str, object]]:
        return [{"name": "means", "datatype": "FP32", "shape": [-1, 6]}]

    async def predict(self, request: InferRequest, *_: object, **__: object) -> InferResponse:
        pixels = request.inputs[0].as_numpy().astype(np.float32) / 255
        half = SIDE // 2
        quarters = pixels[:, :half, :half], pixels[:, half:, half:]
        means = np.concatenate([quarter.mean(axis=(1, 2)) for quarter in quarters], axis=1)
        output = InferOutput("means", list(means.shape), "FP32", [float(one) for one in means.reshape(-1)])
        return InferResponse("", NAME, [output])


if __name__ == "__main__":
    http, grpc = map(int, sys.argv[1:])
    ModelServer(http_port=http, grpc_port=grpc).start([Quarters()])
