"""A naive function, on the same Functions host as the gateway.

A synchronous function, as in the tutorials; a channel for each request; every image is decoded completely and
normalised by plain NumPy, and its 150,528 numbers are added by ``float_val.extend``. Environment as in
:mod:`benchmarks.peers.forwarding`.
"""

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import azure.functions as func
import grpc
import numpy as np
from PIL import Image

from protos import serving_pb2, tensor_pb2

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

type Ranked = list[dict[str, Any]]


@app.route("ready", methods=["GET"])
def ready(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the worker passes it
    """Answer the readiness check."""
    return func.HttpResponse("ready")


@app.route("score", methods=["POST"])
def score(req: func.HttpRequest) -> func.HttpResponse:
    """Label an image file, which is the body."""
    return _answer([_predict(_decode(req.get_body()))])


@app.route("pixels", methods=["POST"])
def pixels(req: func.HttpRequest) -> func.HttpResponse:
    """Label pixels, which are the body."""
    return _answer([_predict(np.frombuffer(req.get_body(), np.float32).reshape(224, 224, 3))])


@app.route("files", methods=["POST"])
def files(req: func.HttpRequest) -> func.HttpResponse:
    """Label the files of a form, one after the other."""
    return _answer([_predict(_decode(file.read())) for file in req.files.getlist("photo")])


def _decode(file: bytes) -> Any:
    image = Image.open(io.BytesIO(file)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return (np.array(image.crop((left, top, left + 224, top + 224))).astype(np.float32) - 127) / 128


def _predict(image: Any) -> Ranked:
    roots = Path(os.environ["FPGA_ROOTS"]).read_bytes()
    credentials = grpc.ssl_channel_credentials(root_certificates=roots)
    request = serving_pb2.PredictRequest()
    request.model_spec.name = "imagenet"
    tensor = request.inputs["images"]
    tensor.dtype = tensor_pb2.DT_FLOAT
    for size in (1, *image.shape):
        tensor.tensor_shape.dim.add().size = size
    tensor.float_val.extend(image.flatten())
    try:
        response = _call(request, credentials)
    except grpc.RpcError:
        # Of channels that are opened and closed concurrently, one in some hundred fails at once.
        response = _call(request, credentials)
    scores = np.array(response.outputs["output_alias"].float_val)
    names = Path(os.environ["FPGA_LABELS"]).read_text(encoding="utf-8").splitlines()
    best = scores.argsort()[::-1][:5]
    return [{"id": int(index), "label": names[index], "score": float(scores[index])} for index in best]


def _call(request: serving_pb2.PredictRequest, credentials: grpc.ChannelCredentials) -> Any:
    with grpc.secure_channel(os.environ["FPGA_ADDRESS"], credentials) as channel:
        predict: Any = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=serving_pb2.PredictRequest.SerializeToString,
            response_deserializer=serving_pb2.PredictResponse.FromString,
        )
        return predict(request, timeout=60, metadata=(("authorization", os.environ["FPGA_KEY"]),))


def _answer(ranked: Iterable[Ranked]) -> func.HttpResponse:
    body = {"predictions": [{"labels": labels} for labels in ranked]}
    return func.HttpResponse(json.dumps(body), mimetype="application/json")
