"""The stack behind the gateway, by the interfaces of its parts, and what the gateway reports of its rotation."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import httpx

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.testbed import Testbed
from devstack import stack, tokens
from devstack.authority import fingerprint
from devstack.control.records import BUILT_IN
from devstack.control.store import ControlStore
from devstack.stack import MANAGEMENT, Addresses
from devstack.state import CERTIFICATE, PEM, SERVICE
from shared.control_plane.types import API_VERSION

MODELS = (BUILT_IN, replace(BUILT_IN, id="imagenet-next", version=BUILT_IN.version + 1, created=1.0))

_VAULT = "https://vault.azure.net"
_VAULT_API = {"api-version": "7.4"}
_TIMEOUT = 60.0


def register_next_model(testbed: Testbed) -> None:
    """Register a second version of the model, before the control plane starts.

    The engine is simulated and computes nothing: what a package with an ONNX file would add does not matter here.
    """
    ControlStore(testbed.state.control).save(model=MODELS[1])


class Behind:
    """A client of each part, with tokens of its own."""

    def __init__(self, testbed: Testbed, addresses: Addresses, gateway: str, client: httpx.AsyncClient) -> None:
        self._authority = testbed.authority
        self._key = tokens.read_signing_key(testbed.state.signing_key)
        self._account = stack.account(stack.settings())
        self._addresses = addresses
        self._gateway = gateway
        self._client = client

    @classmethod
    @asynccontextmanager
    async def of(cls, testbed: Testbed, addresses: Addresses, gateway: str) -> AsyncIterator[Self]:
        """Of a running stack."""
        trusted = ssl.create_default_context(cafile=str(testbed.state.ca))
        async with httpx.AsyncClient(verify=trusted, trust_env=False, timeout=_TIMEOUT) as client:
            yield cls(testbed, addresses, gateway, client)

    async def store_certificate(self) -> str:
        """Store a new certificate in Key Vault; returns its fingerprint."""
        issued = self._authority.issue()
        document = {"value": (issued.key + issued.chain).decode(), "contentType": PEM}
        path = f"{self._addresses.vault}/secrets/{CERTIFICATE}"
        await self._send("PUT", path, _VAULT, document, _VAULT_API)
        return fingerprint(issued.certificate)

    async def set_vault_fault(self, fault: dict[str, Any] | None) -> None:
        """Let Key Vault fail; None ends that."""
        await self._send("PUT" if fault else "DELETE", f"{self._addresses.vault}/_devstack/faults", _VAULT, fault)

    async def set_swap(self, how: str) -> None:
        """Change how the inference service gets a new certificate: ``hot``, or by a ``restart``."""
        path = f"{self._addresses.control}/_devstack/services/{SERVICE}"
        await self._send("PUT", path, MANAGEMENT, {"swap": how})

    async def deploy_model(self, model_id: str) -> None:
        """Start to update the inference service to a model."""
        services = self._addresses.control + self._account.path("services")
        version = {"api-version": API_VERSION}
        found = await self._send("GET", services, MANAGEMENT, None, {**version, "serviceName": SERVICE})
        (service,) = found.json()["value"]
        document = {"computeType": "FPGA", "modelId": model_id, "numReplicas": 1}
        await self._send("PUT", f"{services}/{service['id']}", MANAGEMENT, document, version)

    async def rotation(self) -> dict[str, Any]:
        """What the gateway reports of the inference service's rotation."""
        answer = await self._client.get(f"{self._gateway}/api/rotation", params={"service": SERVICE})
        found: dict[str, Any] = _checked(answer).json()["services"][SERVICE]
        return found

    async def request_new_keys(self) -> bool:
        """Ask the gateway to rotate the keys; False where a run is in progress, so that it has to be asked again."""
        document = {"service": SERVICE, "rotate_keys": True}
        answer = await self._client.post(f"{self._gateway}/api/rotation", json=document)
        return answer.status_code != httpx.codes.CONFLICT and _checked(answer).is_success

    async def _send(
        self, method: str, url: str, audience: str, document: Any = None, query: dict[str, str] | None = None
    ) -> httpx.Response:
        token = tokens.issue(self._key, resource=audience, now=time.time())
        headers = {"Authorization": f"Bearer {token.value}"}
        return _checked(await self._client.request(method, url, params=query, json=document, headers=headers))


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer.

    Raises:
        BenchmarkFailed: it is an error.
    """
    if not answer.is_success:
        raise BenchmarkFailed(f"{answer.request.method} {answer.request.url} was answered by {answer.status_code}")
    return answer
