"""The doors of the inference protocols, called as the worker calls them, in front of a real simulated service."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import numpy as np
import numpy.typing as npt

from devstack.fpga import Service, SimulatedEngine
from functions import open_inference, tf_serving
from tests.faults.lab import PICTURE, Answer

CLASSES = 10
TENSOR = np.random.default_rng(7).random((2, 224, 224, 3), np.float32)
"""Two pictures as numbers."""

_FUNCTIONS: Mapping[str, Any] = {
    "/v2/health/live": open_inference.open_inference_live,
    "/v2/health/ready": open_inference.open_inference_ready,
    "/v1/": tf_serving.tf_serving_v1,
    "/v2/": open_inference.open_inference_v2,
}


class Door:
    """A client of both doors; ``service`` is what stands behind the models ``cats`` and ``pixels``."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._functions = {start: (function.build().get_user_function()) for start, function in _FUNCTIONS.items()}

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, b"", **headers)

    async def post(self, path: str, body: object, **headers: str) -> Answer:
        """Send bytes as they are, anything else as JSON."""
        return await self.call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), **headers)

    async def call(self, method: str, path: str, body: bytes, **headers: str) -> Answer:
        """Call the function that has the path, as the worker does; a header's name is written with underscores."""
        start = next(start for start in self._functions if f"{path}/".startswith(start))
        arguments: dict[str, Any] = {
            "req": func.HttpRequest(
                method,
                f"http://localhost{path}",
                headers={name.replace("_", "-"): value for name, value in headers.items()},
                route_params={"path": path[4:]} if len(path) > 4 else {},
                body=body,
            ),
            "context": SimpleNamespace(
                invocation_id="00000000-0000-4000-8000-000000000000",
                trace_context=SimpleNamespace(trace_parent="", trace_state=""),
            ),
        }
        if start == "/v2/health/live":
            del arguments["context"]
        response = await self._functions[start](**arguments)
        given = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, given, response.get_body())


async def scores(*images: bytes | npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the service answers for these images: ``[N, 10]``."""
    engine = SimulatedEngine(0, classes=CLASSES)
    rows = [await engine.score([image] if isinstance(image, bytes) else image[np.newaxis]) for image in images]
    engine.close()
    return np.concatenate(rows)


def refused(answer: Answer, status: int) -> str:
    """The words of an error, which has the form that both protocols share."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    [(name, words)] = answer.json.items()
    assert name == "error"
    return str(words)


__all__ = ["CLASSES", "PICTURE", "TENSOR", "Answer", "Door", "refused", "scores"]
