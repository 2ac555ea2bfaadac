"""The processes of the local stack, what each needs of the others, and the settings that point the gateway at them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devstack.state import State
from devstack.supervisor import Program, Supervisor

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_FILE = ROOT / "local.settings.json"


@dataclass(frozen=True)
class Ports:
    """Loopback ports; 0 takes a free one. The defaults are those of local.settings.json."""

    host: int = 7071
    identity: int = 7072
    vault: int = 7073
    fpga: int = 7074

    @classmethod
    def starting_at(cls, first: int) -> "Ports":
        return cls(*range(first, first + 4)) if first else cls(0, 0, 0, 0)


@dataclass(frozen=True)
class Options:
    """How to start the stack."""

    ports: Ports = Ports()
    workers: int = 1
    engine: str = "model"
    latency_ms: float = 1.8
    enable_auth: bool = False
    quiet: bool = False
    keys_file: Path = ROOT / ".devstack" / "host-keys.json"


@dataclass(frozen=True)
class Addresses:
    """Where the stack's parts listen; ``host`` is empty where the Functions host was left out."""

    identity: str
    vault: str
    fpga: str
    host: str = ""


async def start_services(supervisor: Supervisor, state: State, logs: Path, options: Options) -> Addresses:
    """Start all that the gateway talks to, side by side.

    Raises:
        StackFailed: one of them did not start.
    """
    header = _settings()["IDENTITY_HEADER"]
    programs = (
        _identity(state, logs, options.ports.identity, header),
        _vault(state, logs, options.ports.vault),
        _fpga(state, logs, options),
    )
    identity, vault, fpga = await asyncio.gather(*(supervisor.start(program) for program in programs))
    return Addresses(identity, vault, fpga)


async def start_host(supervisor: Supervisor, addresses: Addresses, state: State, options: Options) -> Addresses:
    """Start the Functions host; it listens when its app has been indexed.

    Raises:
        StackFailed: it did not start.
    """
    arguments = ["--app", str(ROOT), "--port", str(options.ports.host), "--workers", str(options.workers)]
    arguments += ["--keys-file", str(options.keys_file)]
    arguments += ["--enable-auth"] if options.enable_auth else []
    arguments += ["--quiet"] if options.quiet else []
    program = Program("Functions host", "devstack.host", arguments, environment=environment(addresses, state.ca))
    host = await supervisor.start(program)
    return Addresses(addresses.identity, addresses.vault, addresses.fpga, host)


def function_key(options: Options) -> str:
    """The key that opens every function of the started host."""
    keys: Mapping[str, str] = json.loads(options.keys_file.read_text(encoding="utf-8"))
    return keys["default"]


def environment(addresses: Addresses, ca: Path) -> Mapping[str, str]:
    """What differs from local.settings.json where the parts listen elsewhere; an existing variable wins over it."""
    fpga_port = addresses.fpga.rpartition(":")[2]
    services = [key for key in _settings() if key.startswith("SERVICE__") and key.endswith("__PORT")]
    return {
        "IDENTITY_ENDPOINT": addresses.identity,
        "KEY_VAULT_URL": f"https://localhost:{urlsplit(addresses.vault).port}",
        "KEY_VAULT_CA_FILE": str(ca),
        **dict.fromkeys(services, fpga_port),
    }


def _identity(state: State, logs: Path, port: int, header: str) -> Program:
    return Program(
        "identity endpoint",
        "devstack.identity",
        ["--port", str(port), "--signing-key", str(state.signing_key), "--header", header],
        logs / "identity.log",
    )


def _vault(state: State, logs: Path, port: int) -> Program:
    return Program(
        "Key Vault",
        "devstack.vault",
        [
            *("--folder", str(state.vault), "--port", str(port), "--signing-key", str(state.signing_key)),
            *("--certificate", str(state.vault_certificate), "--key", str(state.vault_key)),
        ],
        logs / "vault.log",
    )


def _fpga(state: State, logs: Path, options: Options) -> Program:
    return Program(
        "FPGA service",
        "devstack.fpga",
        [
            *("--port", str(options.ports.fpga), "--engine", options.engine, "--latency-ms", str(options.latency_ms)),
            *("--certificate", str(state.fpga_certificate), "--key", str(state.fpga_certificate_key)),
            *("--keys", str(state.fpga_keys)),
        ],
        logs / "fpga.log",
    )


def _settings() -> Mapping[str, str]:
    values: Mapping[str, str] = json.loads(SETTINGS_FILE.read_text(encoding="utf-8"))["Values"]
    return values
