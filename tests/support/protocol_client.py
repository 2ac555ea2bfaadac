"""A client of the protocol endpoints: it calls their functions as the worker does, with a simulated service."""

import json
from collections.abc import Mapping
from typing import Any

import azure.functions as func
import numpy as np
import numpy.typing as npt

from devstack.fpga import Service, SimulatedEngine
from functions import open_inference, tensorflow_serving
from tests.support.app import PICTURE, Response, call_function

CLASSES = 10
TENSOR = np.random.default_rng(7).random((2, 224, 224, 3), np.float32)
"""Two images of random pixels."""

_FUNCTIONS: Mapping[str, Any] = {
    "/v2/health/live": open_inference.open_inference_live,
    "/v2/health/ready": open_inference.open_inference_ready,
    "/v1/": tensorflow_serving.tf_serving_v1,
    "/v2/": open_inference.open_inference_v2,
}


class ProtocolClient:
    """A client of both protocols; ``service`` serves the models ``cats`` and ``pixels``."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def get(self, path: str, **headers: str) -> Response:
        return await self.call("GET", path, b"", **headers)

    async def post(self, path: str, body: object, **headers: str) -> Response:
        """Send bytes unchanged, and other bodies as JSON."""
        return await self.call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), **headers)

    async def call(self, method: str, path: str, body: bytes, **headers: str) -> Response:
        """Call the path's function as the worker does; header names have underscores instead of hyphens."""
        function = next(function for start, function in _FUNCTIONS.items() if f"{path}/".startswith(start))
        request = func.HttpRequest(
            method,
            f"http://localhost{path}",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            route_params={"path": path[4:]} if len(path) > 4 else {},
            body=body,
        )
        return await call_function(function, request)


async def scores(*images: bytes | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The service's scores for these images: ``[N, 10]``."""
    engine = SimulatedEngine(0, classes=CLASSES)
    rows = [await engine.score([image] if isinstance(image, bytes) else image[np.newaxis]) for image in images]
    engine.close()
    return np.concatenate(rows)


def error_message(response: Response, status: int) -> str:
    """The message of an error response, whose form is the same in both protocols."""
    assert response.status == status, response.body
    assert response.headers["content-type"] == "application/json"
    [(name, message)] = response.json.items()
    assert name == "error"
    return str(message)


__all__ = ["CLASSES", "PICTURE", "TENSOR", "ProtocolClient", "Response", "error_message", "scores"]
