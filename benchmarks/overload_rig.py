"""What the overload's benchmark runs: the local stack, the Functions host, and a second service that can hang.

The host has a processor of its own; the services and the clients share the others.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio

from benchmarks.machine import Processors, pin
from benchmarks.rig import Bench, Invalid
from devstack.authority import Authority
from devstack.stack import HOST, LATENCY_MS, ROOT
from devstack.state import PEM, PRIMARY_KEY, SECONDARY_KEY
from devstack.supervisor import Program
from devstack.vault import VaultStore
from shared.fpga.channels import PREDICT
from shared.scoring.tensors import RequestTemplate
from shared.settings import prefix

QUICK, TENSOR, HANGING = "imagenet", "imagenet-tensor", "hanging"
WORKER = HOST
_CA_PINS = "ca-pins"
# Enough to keep a service busy that scores one image at a time.
_CALLS = 16
_WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Rig:
    """All that runs; ``host`` and ``port`` are the gateway's, ``fpga`` the quick service's address."""

    bench: Bench
    host: str
    port: int
    fpga: str
    faults: Path

    @classmethod
    async def start(cls, bench: Bench, deadline_ms: int) -> "Rig":
        """Start everything; ``deadline_ms`` is that of the second service's requests.

        Raises:
            StackFailed: something cannot be started.
        """
        processors, folder = Processors.split(), bench.options.folder
        pin(processors.others)
        vault, authority = VaultStore(bench.state.vault), Authority.load(bench.state.folder)
        vault.set(_CA_PINS, authority.pem.decode(), content_type=PEM)
        keys = {"primaryKey": vault.get(PRIMARY_KEY).value, "secondaryKey": vault.get(SECONDARY_KEY).value}
        addresses = await bench.start_services()
        faults = folder / "faults.json"
        (second,) = await bench.supervisor.start(_second(bench, authority, keys, faults))
        settings = {**bench.settings(addresses), **_settings(second, deadline_ms)}
        pin(processors.measured)
        try:
            (url,) = await bench.supervisor.start(_host(folder, settings))
        finally:
            pin(processors.others)
        where = urlsplit(url)
        return cls(bench, where.hostname or "", where.port or 0, addresses.fpga, faults)

    @property
    def worker(self) -> int:
        """The process id of the host's only worker."""
        return self.bench.supervisor.pids()[WORKER]

    def hang(self, *, hang: bool) -> None:
        """Have the second service take calls and never answer, or answer again."""
        fresh = self.faults.with_suffix(".new")
        fresh.write_text(json.dumps({"hang": hang}))
        fresh.replace(self.faults)

    async def capacity(self, image: bytes, seconds: float) -> float:
        """Images a second that the quick service scores when it is never without one, called directly.

        Raises:
            Invalid: it scores none.
        """
        state = self.bench.state
        key = VaultStore(state.vault).get(PRIMARY_KEY).value
        request = RequestTemplate(model=QUICK, signature="", input_name="images").encoded([image])
        trust = grpc.ssl_channel_credentials(state.ca.read_bytes())
        scored = 0
        async with grpc.aio.secure_channel(self.fpga, trust) as channel:
            predict: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
            begin = time.perf_counter() + _WARM_UP_SECONDS

            async def call() -> None:
                nonlocal scored
                while (now := time.perf_counter()) < begin + seconds:
                    await predict(request, timeout=10, metadata=(("authorization", key),))
                    scored += now >= begin

            await asyncio.gather(*(call() for _ in range(_CALLS)))
            took = time.perf_counter() - begin
        if not scored:
            raise Invalid("The service scored nothing.")
        return scored / took


def _second(bench: Bench, authority: Authority, keys: Mapping[str, str], faults: Path) -> Program:
    folder, issued = bench.options.folder, authority.issue()
    certificate, key, keys_file = folder / "second.pem", folder / "second.key", folder / "second-keys.json"
    certificate.write_bytes(issued.chain)
    key.write_bytes(issued.key)
    keys_file.write_text(json.dumps(keys))
    return Program(
        "FPGA service (second)",
        "devstack.fpga",
        [
            *("--engine", "simulated", "--latency-ms", str(LATENCY_MS), "--keys", str(keys_file)),
            *("--certificate", str(certificate), "--key", str(key), "--faults", str(faults)),
        ],
        bench.options.logs / "second.log",
    )


def _settings(second: str, deadline_ms: int) -> Mapping[str, str]:
    own = prefix(HANGING)
    return {
        "SERVICES": f"{QUICK},{TENSOR},{HANGING}",
        own + "ADDRESS": "127.0.0.1",
        own + "PORT": second.rpartition(":")[2],
        own + "MODEL": QUICK,
        own + "DEADLINE_MS": str(deadline_ms),
        own + "PRIMARY_KEY_SECRET": PRIMARY_KEY,
        own + "SECONDARY_KEY_SECRET": SECONDARY_KEY,
        own + "PINS_SECRET": _CA_PINS,
        # The rotation's timer has nothing to do with this; local.settings.json has it come every five seconds.
        "ROTATION_SCHEDULE": "0 0 4 1 1 *",
        "CREDENTIALS_REFRESH_SECONDS": "300",
    }


def _host(folder: Path, settings: Mapping[str, str]) -> Program:
    arguments = ["--app", str(ROOT), "--port", "0", "--workers", "1", "--quiet", "--state", str(folder)]
    return Program(WORKER, "devstack.host", arguments, folder / "logs" / "host.log", settings)
