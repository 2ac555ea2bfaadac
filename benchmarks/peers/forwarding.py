"""Common code of the Python peers: the call of the inference service as a client in Python is usually written.

One channel for the life of the process, over TLS with the service's authority pinned and the key as metadata; messages
by the generated classes; numbers in ``tensor_content`` by ``numpy.tobytes``; images decoded completely by Pillow.

Environment: ``FPGA_ADDRESS``, ``FPGA_KEY``, ``FPGA_ROOTS`` (a PEM file) and ``FPGA_LABELS`` (one name a line).
"""

import asyncio
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from PIL import Image

from protos import serving_pb2, tensor_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TOP = 5
SIDE, SHORT_SIDE = 224, 256
DEADLINE = 10.0

type Floats = npt.NDArray[np.float32]
type Ranked = list[dict[str, Any]]


class Service:
    """The inference service; made at the first use, inside the event loop that its channel belongs to."""

    def __init__(self) -> None:
        roots = Path(os.environ["FPGA_ROOTS"]).read_bytes()
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        self._predict_call = predict_call(grpc.aio.secure_channel(os.environ["FPGA_ADDRESS"], credentials))
        self._metadata = (("authorization", os.environ["FPGA_KEY"]),)
        self._names = Path(os.environ["FPGA_LABELS"]).read_text(encoding="utf-8").splitlines()

    async def label(self, file: bytes) -> Ranked:
        """The labels of an image file, which the service decodes."""
        return await self._predict(files_request([file]))

    async def label_all(self, files: Sequence[bytes]) -> list[Ranked]:
        """The labels of several image files, side by side."""
        return list(await asyncio.gather(*map(self.label, files)))

    async def label_photo(self, file: bytes) -> Ranked:
        """The labels of an image file that is decoded here, in a thread."""
        return await self._predict(pixels_request(await asyncio.to_thread(pixels_of, file)))

    async def label_pixels(self, data: bytes) -> Ranked:
        """The labels of pixels that the client has prepared: float32 of 224 x 224 x 3."""
        return await self._predict(pixels_request(np.frombuffer(data, "<f4").reshape(1, SIDE, SIDE, 3)))

    async def _predict(self, request: serving_pb2.PredictRequest) -> Ranked:
        response = await self._predict_call(request, timeout=DEADLINE, metadata=self._metadata)
        scores = np.array(response.outputs["output_alias"].float_val, np.float32)
        best = np.argpartition(scores, -TOP)[-TOP:]
        best = best[np.argsort(-scores[best])]
        return [
            {"id": int(index), "label": self._names[index], "score": round(float(scores[index]), 6)} for index in best
        ]


def predict_call(channel: Any) -> Any:
    """``Predict`` with protobuf's messages, as generated client code makes it."""
    return channel.unary_unary(
        PREDICT,
        request_serializer=serving_pb2.PredictRequest.SerializeToString,
        response_deserializer=serving_pb2.PredictResponse.FromString,
    )


@functools.cache
def service() -> Service:
    """The service of this process."""
    return Service()


def files_request(files: Sequence[bytes]) -> serving_pb2.PredictRequest:
    """A request of image files."""
    return _request([len(files)], dtype=tensor_pb2.DT_STRING, string_val=files)


def pixels_request(pixels: Floats) -> serving_pb2.PredictRequest:
    """A request of float32 [N, 224, 224, 3]."""
    content = np.ascontiguousarray(pixels, "<f4").tobytes()
    return _request(pixels.shape, dtype=tensor_pb2.DT_FLOAT, tensor_content=content)


def _request(sizes: Sequence[int], **content: Any) -> serving_pb2.PredictRequest:
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])
    tensor = tensor_pb2.TensorProto(tensor_shape=shape, **content)
    return serving_pb2.PredictRequest(model_spec=serving_pb2.ModelSpec(name="imagenet"), inputs={"images": tensor})


def pixels_of(file: bytes) -> Floats:
    """Decode, scale the shorter side to 256, cut out the centre, normalise: float32 [1, 224, 224, 3]."""
    with Image.open(io.BytesIO(file)) as image:
        picture = image.convert("RGB")
    scale = SHORT_SIDE / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
    values = np.asarray(picture.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    normal: Floats = (values - np.float32(127)) / np.float32(128)
    return normal[np.newaxis]


def answer(*ranked: Ranked) -> dict[str, Any]:
    """A peer's answer, in the form of the gateway's."""
    return {"predictions": [{"labels": labels} for labels in ranked]}
