"""A control plane as a process, the files that it needs, and callers of it."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from devstack import tokens
from devstack.authority import Authority, Issued
from devstack.control.app import Account
from protos import serving_pb2
from tests.devstack.fpga.wire import PREDICT, request
from tests.devstack.processes import Running

CONTROL = "devstack.control"
API = {"api-version": "2018-04-01-preview"}
ACCOUNT = Account().path
FAULTS = "/_devstack/faults"
ADMIN = "/_devstack/services"

Json = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """What a control plane is started with, in one folder, and the authority that issued its certificate."""

    folder: Path
    authority: Authority

    @classmethod
    def make(cls, folder: Path) -> "Files":
        files = cls(folder, Authority.create())
        leaf = files.authority.issue()
        (folder / "ca.pem").write_bytes(files.authority.pem)
        (folder / "leaf.pem").write_bytes(leaf.chain)
        (folder / "leaf.key").write_bytes(leaf.key)
        (folder / "signing.key").write_bytes(bytes(range(32)))
        return files

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def arguments(self, state: Path, *more: str, port: int = 0, engine: str = "simulated") -> list[str | Path]:
        return [
            *("--folder", state, "--port", str(port), "--signing-key", self.folder / "signing.key"),
            *("--certificate", self.folder / "leaf.pem", "--key", self.folder / "leaf.key"),
            *("--engine", engine, "--latency-ms", "0", *more),
        ]

    def running(self, folder: Path, *more: str, engine: str = "simulated") -> Running:
        """A control plane whose state and log are in ``folder``."""
        folder.mkdir(exist_ok=True)
        return Running(CONTROL, *self.arguments(folder / "state", *more, engine=engine), log=folder / "log")

    def token(self, resource: str = "https://management.azure.com/", **rest: Any) -> str:
        key = (self.folder / "signing.key").read_bytes()
        return tokens.issue(key, resource=resource, now=time.time(), **rest).value

    def plane(self, address: str) -> "Plane":
        return Plane(self, address)


class Plane:
    """A caller of a control plane, with a valid token. ``http`` adds neither path nor API version."""

    def __init__(self, files: Files, address: str) -> None:
        self.files = files
        self.http = httpx.Client(
            base_url=address,
            verify=ssl.create_default_context(cafile=str(files.ca)),
            headers={"Authorization": f"Bearer {files.token()}"},
            trust_env=False,
            timeout=20,
        )

    def __enter__(self) -> "Plane":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, document: Any = None, **query: str) -> httpx.Response:
        return self.http.request(method, ACCOUNT + path, params={**API, **query}, json=document)

    def get(self, path: str, **query: str) -> Json:
        answer: Json = self.call("GET", path, **query).raise_for_status().json()
        return answer

    def ended(self, accepted: httpx.Response) -> Json:
        """Follow an accepted operation to its end."""
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
        operation = self.ended(self.call("POST", "/services", wanted(certificate, name=name, **more)))
        assert operation["state"] == "Succeeded", operation
        service: Json = self.http.get(operation["resourceLocation"], params=API).json()
        return service

    def update(self, service: Json, certificate: Issued | None = None, **more: Any) -> httpx.Response:
        """Begin to update a service; with no certificate nothing is said about TLS."""
        document = wanted(certificate, **more)
        if certificate is None and "sslEnabled" not in more:
            for name in ("sslEnabled", "sslCertificate", "sslKey"):
                del document[name]
        return self.call("PUT", f"/services/{service['id']}", document)

    def keys(self, service: Json) -> tuple[str, str]:
        keys = self.get(f"/services/{service['id']}/keys")
        assert keys.keys() == {"primaryKey", "secondaryKey"}
        return keys["primaryKey"], keys["secondaryKey"]

    def switch(self, *faults: Json) -> None:
        self.http.put(FAULTS, json=faults).raise_for_status()

    def admin(self, name: str, document: Json | None = None) -> Json:
        """What the admin route tells of a service, after a change where there is one."""
        path = f"{ADMIN}/{name}"
        answer = self.http.put(path, json=document) if document else self.http.get(path)
        told: Json = answer.raise_for_status().json()
        return told

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


def wanted(certificate: Issued | None = None, **more: Any) -> Json:
    """The body of a create or update."""
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
    """One prediction: the answer's values. Raises what gRPC raises."""
    call = channel.unary_unary(
        PREDICT,
        request_serializer=serving_pb2.PredictRequest.SerializeToString,
        response_deserializer=serving_pb2.PredictResponse.FromString,
    )
    answer = call(request(**more), metadata=() if key is None else (("authorization", key),), timeout=10)
    return answer.outputs["output_alias"].float_val


def fails_with(channel: grpc.Channel, key: str | None) -> grpc.StatusCode:
    try:
        predict(channel, key)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    raise AssertionError("the call did not fail")


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something has happened that nobody announces; ten seconds are far too long for it."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it has not happened")
