"""A control plane as a process, and a client of its REST API, its admin routes and its services' data planes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from devstack.authority import Issued
from devstack.control.app import Account
from protos import serving_pb2
from tests.support.devstack.fpga import PREDICT, request
from tests.support.devstack.processes import ServerProcess
from tests.support.devstack.server_files import ServerFiles

CONTROL = "devstack.control"
MANAGEMENT = "https://management.azure.com/"
API = {"api-version": "2018-04-01-preview"}
ACCOUNT = Account().path
FAULTS = "/_devstack/faults"
ADMIN = "/_devstack/services"

Json = dict[str, Any]


class ControlPlaneFiles(ServerFiles):
    """The files of a control plane; without other options its services have the simulated engine without latency."""

    def control_arguments(self, state: Path, *more: str, port: int = 0, engine: str = "simulated") -> list[str | Path]:
        return self.arguments(state, "--engine", engine, "--latency-ms", "0", *more, port=port)

    def running(self, folder: Path, *more: str, engine: str = "simulated") -> ServerProcess:
        """A control plane whose state and log are in ``folder``."""
        folder.mkdir(exist_ok=True)
        return ServerProcess(
            CONTROL, *self.control_arguments(folder / "state", *more, engine=engine), log=folder / "log"
        )

    def connect(self, address: str) -> "ControlPlaneClient":
        return ControlPlaneClient(self, address)


class ControlPlaneClient:
    """A client with a valid token. ``http`` adds neither path nor API version."""

    def __init__(self, files: ControlPlaneFiles, address: str) -> None:
        self.files = files
        self.http = files.client(address, MANAGEMENT)

    def __enter__(self) -> "ControlPlaneClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, document: Any = None, **query: str) -> httpx.Response:
        return self.http.request(method, ACCOUNT + path, params={**API, **query}, json=document)

    def get(self, path: str, **query: str) -> Json:
        answer: Json = self.call("GET", path, **query).raise_for_status().json()
        return answer

    def wait_for_end(self, accepted: httpx.Response) -> Json:
        """Poll an accepted operation until it has ended."""
        assert accepted.status_code == 202, accepted.text
        location = accepted.headers["Operation-Location"]
        for _ in range(2000):
            operation: Json = self.http.get(location, params=API).raise_for_status().json()
            if operation["state"] not in ("NotStarted", "Running"):
                return operation
            time.sleep(0.01)
        raise AssertionError(f"the operation has not ended: {operation}")

    def state_of(self, accepted: httpx.Response) -> str:
        state: str = self.http.get(accepted.headers["Operation-Location"], params=API).json()["state"]
        return state

    def create(self, name: str, certificate: Issued | None = None, **more: Any) -> Json:
        """Create a service, with TLS where there is a certificate, and return it."""
        operation = self.wait_for_end(self.call("POST", "/services", service_body(certificate, name=name, **more)))
        assert operation["state"] == "Succeeded", operation
        service: Json = self.http.get(operation["resourceLocation"], params=API).json()
        return service

    def update(self, service: Json, certificate: Issued | None = None, **more: Any) -> httpx.Response:
        """Start an update of a service; without a certificate the ssl fields are left out."""
        document = service_body(certificate, **more)
        if certificate is None and "sslEnabled" not in more:
            for name in ("sslEnabled", "sslCertificate", "sslKey"):
                del document[name]
        return self.call("PUT", f"/services/{service['id']}", document)

    def keys(self, service: Json) -> tuple[str, str]:
        keys = self.get(f"/services/{service['id']}/keys")
        assert keys.keys() == {"primaryKey", "secondaryKey"}
        return keys["primaryKey"], keys["secondaryKey"]

    def set_faults(self, *faults: Json) -> None:
        self.http.put(FAULTS, json=faults).raise_for_status()

    def admin(self, name: str, document: Json | None = None) -> Json:
        """The admin route's description of a service, after a change where ``document`` is given."""
        path = f"{ADMIN}/{name}"
        answer = self.http.put(path, json=document) if document else self.http.get(path)
        description: Json = answer.raise_for_status().json()
        return description

    def predict(self, service: Json, key: str | None = None, roots: bytes | None = None, **more: Any) -> Any:
        """Call the service on its data plane: over TLS where there is a key."""
        with self.channel(service, None if key is None else roots or self.files.authority.pem) as channel:
            return predict(channel, key, **more)

    def channel(self, service: Json, roots: bytes | None) -> grpc.Channel:
        address = f"{service['ipAddress']}:{service['port']}"
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        if roots is None:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options)


def service_body(certificate: Issued | None = None, **more: Any) -> Json:
    """The body of a create or update request."""
    document = {
        "computeType": "FPGA",
        "modelId": "imagenet",
        "numReplicas": 1,
        "sslEnabled": certificate is not None,
        "sslCertificate": certificate.chain.decode() if certificate else "",
        "sslKey": certificate.key.decode() if certificate else "",
    }
    return {**document, **more}


def predict(channel: grpc.Channel, key: str | None, **more: Any) -> Any:
    """One prediction: the values of its output. Raises grpc.RpcError."""
    call = channel.unary_unary(
        PREDICT,
        request_serializer=serving_pb2.PredictRequest.SerializeToString,
        response_deserializer=serving_pb2.PredictResponse.FromString,
    )
    answer = call(request(**more), metadata=() if key is None else (("authorization", key),), timeout=10)
    return answer.outputs["output_alias"].float_val


def predict_error(channel: grpc.Channel, key: str | None) -> grpc.StatusCode:
    """The status of a prediction that must fail."""
    try:
        predict(channel, key)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    raise AssertionError("the call did not fail")


# Fixtures: one running control plane for all tests of a folder, which make services of their own.


@pytest.fixture(scope="session")
def control_files(tmp_path_factory: pytest.TempPathFactory) -> ControlPlaneFiles:
    return ControlPlaneFiles.make(tmp_path_factory.mktemp("control-files"))


@pytest.fixture(scope="session")
def certificate(control_files: ControlPlaneFiles) -> Issued:
    return control_files.authority.issue()


@pytest.fixture(scope="session")
def control_process(
    control_files: ControlPlaneFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with control_files.running(tmp_path_factory.mktemp("control"), "--page-size", "2") as running:
        yield running


@pytest.fixture
def plane(control_files: ControlPlaneFiles, control_process: ServerProcess) -> Iterator[ControlPlaneClient]:
    """A client of the running control plane, whose faults end with the test."""
    with control_files.connect(control_process.address) as plane:
        yield plane
        plane.http.delete(FAULTS).raise_for_status()
