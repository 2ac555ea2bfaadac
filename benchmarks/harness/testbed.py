"""The local stack on free ports with a temporary state: every service that the gateway talks to is a process.

The app runs in the local Functions host, a process too, or in this process (:mod:`benchmarks.harness.app`).
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.machine import Processors, pinned
from benchmarks.harness.paths import ROOT
from devstack import stack
from devstack.authority import Authority, Issued
from devstack.host import worker
from devstack.stack import HOST, Addresses, Options, Ports
from devstack.state import CERTIFICATE, PEM, PRIMARY_KEY, SECONDARY_KEY, State, hold
from devstack.supervisor import Program, Supervisor
from devstack.vault import VaultStore
from shared.settings import prefix

# App settings as in production, where local.settings.json has Key Vault read every ten seconds, and the certificate
# observed every five. No request is refused: refusals are measured by a benchmark of their own.
PRODUCTION = {
    "CREDENTIALS_REFRESH_SECONDS": "300",
    "ROTATION_SCHEDULE": "0 */5 * * * *",
    "SERVICE__IMAGENET__MAX_CONCURRENCY": "1024",
    # The service takes a batch, and so does each of the peers' services.
    "SERVICE__IMAGENET__MAX_BATCH": "16",
    "SERVICE__IMAGENET_TENSOR__MAX_CONCURRENCY": "1024",
}

# The local stack's service with the Open Inference Protocol.
OPEN = "imagenet-open"

# Settings of an additional service: the keys of the first one, and pins that cover every certificate of the authority.
KEYS: Mapping[str, str] = {"PRIMARY_KEY_SECRET": PRIMARY_KEY, "SECONDARY_KEY_SECRET": SECONDARY_KEY}
AUTHORITY_PINS: Mapping[str, str] = {"PINS_SECRET": "authority-pins"}


@dataclass(frozen=True)
class Testbed:
    """The stack of one benchmark: its processes end with the benchmark, its state is deleted."""

    supervisor: Supervisor
    state: State
    options: Options

    @property
    def vault(self) -> VaultStore:
        """Key Vault's secrets; to be changed before :meth:`start_services`, which reads them."""
        return VaultStore(self.state.vault)

    @property
    def authority(self) -> Authority:
        return Authority.load(self.state.folder)

    @property
    def key(self) -> str:
        """The inference service's primary key."""
        return self.vault.get(PRIMARY_KEY).value

    async def start_services(self) -> Addresses:
        """Start the identity endpoint, Key Vault, and the control plane with the inference service.

        Raises:
            StackFailed: one of them cannot be started; so do the other methods.
        """
        self.vault.set(AUTHORITY_PINS["PINS_SECRET"], self.authority.pem.decode(), content_type=PEM)
        return await stack.start_services(self.supervisor, self.state, self.options)

    async def start_fast_service(self) -> str:
        """Start :mod:`benchmarks.harness.fast_service` with the service's certificate; returns its address."""
        certificate = self.options.folder / "fast-service.pem"
        certificate.write_text(self.vault.get(CERTIFICATE).value)
        return await self.start("fast service", "benchmarks.harness.fast_service", "--certificate", str(certificate))

    async def start_another_service(self, name: str, issued: Issued, *arguments: str, latency_ms: float = 0) -> str:
        """Start an inference service with the first one's keys and another certificate; returns its address."""
        module, *given = self.service_command(name, issued, *arguments, latency_ms=latency_ms)
        return await self.start(f"inference service ({name})", module, *given)

    def service_command(self, name: str, issued: Issued, *arguments: str, latency_ms: float = 0) -> Sequence[str]:
        """The module of such a service, and its arguments."""
        folder, vault = self.options.folder, self.vault
        certificate, key, keys = (folder / f"{name}.{suffix}" for suffix in ("pem", "key", "json"))
        certificate.write_bytes(issued.chain)
        key.write_bytes(issued.key)
        keys.write_text(json.dumps({"primaryKey": self.key, "secondaryKey": vault.get(SECONDARY_KEY).value}))
        return (
            *("devstack.fpga", "--engine", "simulated", "--latency-ms", str(latency_ms), "--keys", str(keys)),
            *("--certificate", str(certificate), "--key", str(key), *arguments),
        )

    async def start_gateway(self, settings: Mapping[str, str]) -> tuple[str, int]:
        """Start the Functions host with one worker, on the processor for measured programs; its URL and process id."""
        arguments = ["--app", str(ROOT), "--port", "0", "--state", str(self.options.folder), "--quiet"]
        with pinned(Processors.split().measured):
            url = await self.start(HOST, "devstack.host", *arguments, settings=settings)
        return url, self.supervisor.pids()[HOST]

    def settings(self, addresses: Addresses) -> dict[str, str]:
        """The app settings for the gateway before these services."""
        return {**stack.settings(), **stack.environment(addresses, self.state), **stack.without_proxy(os.environ)}

    async def start(self, name: str, module: str, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
        """Start a program that prints its address; returns that."""
        log = self.options.logs / f"{name.replace(' ', '-')}.log"
        (address,) = await self.supervisor.start(Program(name, module, arguments, log, settings or {}))
        return address


def service_settings(name: str, address: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The app settings of an additional service."""
    # One IP address: of several for a name, gRPC reports the last one's failure, which may differ from the others'.
    all_of_them = {"ADDRESS": "127.0.0.1", "PORT": address.rpartition(":")[2], **settings}
    return {prefix(name) + key: value for key, value in all_of_them.items()}


def write_faults(file: Path, faults: Mapping[str, object]) -> None:
    """Replace the faults that a running inference service reads from a file (:mod:`devstack.fpga.faults`)."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(faults))
    fresh.replace(file)


def run[T](measure: Callable[[Testbed], Awaitable[T]], latency_ms: float = 0) -> T:
    """Run a benchmark with a simulated engine of that latency and a temporary state; returns its result.

    Raises:
        StackFailed, StateUnusable: the local stack cannot run. And any error of ``measure``.
    """
    # gRPC would log every failed handshake.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    results: list[T] = []

    async def supervised(state: State, options: Options) -> None:
        async def work() -> None:
            results.append(await measure(Testbed(supervisor, state, options)))

        supervisor = Supervisor()
        await supervisor.run(work())

    try:
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name, hold(Path(name)) as state:
            ports = Ports.starting_at(0)
            options = Options(Path(name), ports, engine="simulated", latency_ms=latency_ms, quiet=True)
            asyncio.run(supervised(state, options))
    finally:
        worker.stop()
    return results[0]
