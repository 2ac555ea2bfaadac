"""Services with something wrong, one for each thing that can be: with itself, its keys or its pins.

Most are the healthy FPGA service, described wrongly to the gateway. Two more stand beside it: one with an expired
certificate, and an ill one, which takes only small messages and has the fault that its file tells.
"""

import datetime as dt
import json
import socket
from collections.abc import Mapping

from benchmarks.refusals import LIMITS
from benchmarks.rig import Bench
from devstack.authority import Authority, Issued
from devstack.stack import Addresses
from devstack.state import PEM, PINS, PRIMARY_KEY, SECONDARY_KEY
from devstack.supervisor import Program
from devstack.vault import VaultStore
from shared.settings import prefix

_KEYS = {"PRIMARY_KEY_SECRET": PRIMARY_KEY, "SECONDARY_KEY_SECRET": SECONDARY_KEY}
_PINS = {"PINS_SECRET": PINS}
_CA_PINS = {"PINS_SECRET": "ca-pins"}
_MESSAGE_LIMIT = 16_384


class Trouble:
    """Prepares and starts the services; make it before the stack, whose vault reads its secrets at its start."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._faults = bench.options.folder / "faults.json"
        self._keys = bench.options.folder / "keys.json"
        self._authority = Authority.load(bench.state.folder)
        vault = VaultStore(bench.state.vault)
        keys = {"primaryKey": vault.get(PRIMARY_KEY).value, "secondaryKey": vault.get(SECONDARY_KEY).value}
        self._keys.write_text(json.dumps(keys))
        vault.set("wrong-keys-primary-key", "not-the-key")
        vault.set("wrong-keys-secondary-key", "nor-this-one")
        vault.set("disabled-secret-primary-key", "a-key", enabled=False)
        vault.set("no-pin-pins", "no certificate", content_type=PEM)
        vault.set("other-pin-pins", Authority.create("Another CA").pem.decode(), content_type=PEM)
        vault.set("ca-pins", self._authority.pem.decode(), content_type=PEM)

    def cause(self, faults: Mapping[str, object]) -> None:
        """Give the ill service these faults (:mod:`devstack.fpga.faults`), in place of those it has."""
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(self._faults)

    async def start(self, addresses: Addresses) -> Mapping[str, str]:
        """Start the two; returns the app settings that add all to the healthy ones.

        Raises:
            StackFailed: one of them cannot be started.
        """
        self.cause({})
        expired, ill = await self._bench.supervisor.start(
            self._fpga("expired", self._authority.issue(valid_for=dt.timedelta(hours=-1))),
            self._fpga(
                "ill",
                self._authority.issue(),
                *("--message-limit", str(_MESSAGE_LIMIT), "--faults", str(self._faults)),
            ),
        )
        healthy = _port(addresses.fpga)
        services: dict[str, tuple[int, Mapping[str, str]]] = {
            "no-secret": (healthy, _PINS),
            "disabled-secret": (healthy, _PINS),
            "no-pin": (healthy, _KEYS),
            "wrong-keys": (healthy, _PINS),
            "other-pin": (healthy, _KEYS),
            "other-name": (healthy, {**_KEYS, **_PINS, "TLS_NAME": "elsewhere.example"}),
            "other-model": (healthy, {**_KEYS, **_PINS, "MODEL": "other"}),
            "other-output": (healthy, {**_KEYS, **_PINS, "OUTPUT_NAME": "other"}),
            "expired": (_port(expired), {**_KEYS, **_CA_PINS}),
            "ill": (_port(ill), {**_KEYS, **_CA_PINS}),
            "no-tls": (_port(addresses.identity.removesuffix("/msi/token")), {**_KEYS, **_PINS}),
            "nowhere": (_closed_port(), {**_KEYS, **_PINS}),
        }
        return {**LIMITS, **self._settings(services)}

    def _settings(self, services: Mapping[str, tuple[int, Mapping[str, str]]]) -> Mapping[str, str]:
        given = {}
        for name, (port, own) in services.items():
            # One address: of a name's several, gRPC tells the last one's failure, which may be another's.
            for key, value in {"ADDRESS": "127.0.0.1", "PORT": str(port), **own}.items():
                given[prefix(name) + key] = value
        return {**given, "SERVICES": ",".join(["imagenet", "imagenet-tensor", *services])}

    def _fpga(self, name: str, issued: Issued, *arguments: str) -> Program:
        """An FPGA service with the keys of the healthy one, and a certificate of its own."""
        folder = self._bench.options.folder
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(issued.chain)
        key.write_bytes(issued.key)
        return Program(
            f"FPGA service ({name})",
            "devstack.fpga",
            [
                *("--engine", "simulated", "--latency-ms", "0", "--keys", str(self._keys)),
                *("--certificate", str(certificate), "--key", str(key), *arguments),
            ],
            self._bench.options.logs / f"fpga-{name}.log",
        )


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _closed_port() -> int:
    """A port that nothing listens on: taken for a moment, so that it was nobody's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
