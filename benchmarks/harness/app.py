"""The function app, invoked without HTTP: in this event loop by the worker library, or in a worker process."""

import base64
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from azure_functions_runtime.bindings.datumdef import Datum

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.paths import ROOT
from devstack.host import worker
from devstack.host.acceptance import Accepted, accept
from devstack.host.datums import request_datum
from devstack.host.functions import Function
from devstack.host.invocations import Invoke
from devstack.host.messages import RpcFunctionMetadata
from devstack.host.remote.worker import RemoteWorker
from devstack.host.settings import read_host_json

# As the Functions host passes them; https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers.
TRACE_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


class Request(NamedTuple):
    """An HTTP request as the worker library takes it, and the function that it is for."""

    function: Function
    datum: Datum


class App:
    """The indexed app."""

    def __init__(self, accepted: Accepted, invoke: Invoke = worker.invoke) -> None:
        self._invoke, self._ids = invoke, itertools.count()
        self._functions = {function.name: function for function in accepted.functions}
        self._match = accepted.routes.match

    @classmethod
    async def load(cls, settings: Mapping[str, str], folder: Path = ROOT) -> Self:
        """Import and index the app of a folder in this process, with ``settings`` in the environment.

        Raises:
            HostError: the app cannot be loaded.
        """
        os.environ.update(settings)
        return cls(_accepted(await worker.load_app(folder)))

    @classmethod
    async def start(cls, remote: RemoteWorker) -> Self:
        """The app of a worker process, which gets this one's environment.

        Raises:
            HostError: the app cannot be loaded.
        """
        return cls(_accepted(await remote.start()), remote.invoke)

    def request(self, path: str, headers: Mapping[str, str], body: bytes) -> Request:
        """A POST. ``headers`` replace those that a client adds by itself.

        Raises:
            LookupError: no function has such a route.
        """
        matched = self._match("POST", path.encode())
        if matched is None:
            raise LookupError(f"no function answers POST {path}")
        given = {"Host": "localhost:7071", "Content-Length": str(len(body)), **headers}
        raw = {name.lower().encode(): value.encode() for name, value in given.items()}
        scope = {"method": "POST", "scheme": "http", "raw_path": path.encode(), "query_string": b""}
        return Request(self._functions[matched[0]], request_datum(scope, raw, matched[1], body))

    async def score(self, request: Request) -> None:
        """Run the function once, for an answer 200.

        Raises:
            BenchmarkFailed: it was another one.
        """
        invocation_id = f"3205e161-bfea-40af-af0d-{next(self._ids):012x}"
        outcome = await self._invoke(request.function, invocation_id, request.datum, trace_parent=TRACE_PARENT)
        answer = outcome.value
        if answer is None or answer.value["status_code"].value != "200":
            raise BenchmarkFailed(f"The image was not scored: {answer and answer.value['body'].value}")


def _accepted(found: Iterable[RpcFunctionMetadata]) -> Accepted:
    return accept(found, os.environ, read_host_json(ROOT / "host.json").route_prefix)


def score_request(app: App, file: bytes) -> Request:
    """``POST /api/score`` with an image file as the body."""
    return app.request("/api/score", {"Content-Type": "image/jpeg"}, file)


def infer_request(app: App, data: bytes | npt.NDArray[np.float32]) -> Request:
    """An Open Inference Protocol request for an image file or for pixels, with binary tensors in both directions."""
    if isinstance(data, bytes):
        tensor: dict[str, object] = {"datatype": "BYTES", "shape": [1]}
        content = len(data).to_bytes(4, "little") + data
    else:
        tensor, content = {"datatype": "FP32", "shape": list(data.shape)}, data.astype("<f4").tobytes()
    head = json.dumps(
        {
            "inputs": [{"name": "images", **tensor, "parameters": {"binary_data_size": len(content)}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return app.request("/v2/models/imagenet/infer", headers, head + content)


def predict_request(app: App, file: bytes) -> Request:
    """A request of TensorFlow Serving's REST API, as JSON with base64."""
    rows = json.dumps({"instances": [{"b64": base64.b64encode(file).decode()}]}).encode()
    return app.request("/v1/models/imagenet:predict", {"Content-Type": "application/json"}, rows)
