"""The processes of the local stack, their arguments, and the settings that make the gateway use them."""

import asyncio
import json
import os
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from devstack import package, telemetry, tokens
from devstack.files import write_atomically
from devstack.host.errors import HostError
from devstack.host.settings import read_local_settings
from devstack.sockets import PortUnavailable, bind
from devstack.state import SERVICE, State, place_services
from devstack.supervisor import Program, StackFailed, Supervisor
from shared.control_plane.types import API_VERSION, Account
from shared.settings import prefix

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_FILE = ROOT / "local.settings.json"
FOLDER = ROOT / ".devstack"

HIGHEST_PORT = 65535

_LOOPBACK = "127.0.0.1"

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")

LATENCY_MS = 1.8
"""The time for one image of the accelerator that the simulated engine imitates."""

# The settings whose values are paths; a relative one starts at the app's folder.
_PATHS = ("KEY_VAULT_CA_FILE", "CONTROL_PLANE_CA_FILE")

# The settings that the parts of the stack share with the gateway.
_SHARED = ("CONTROL_PLANE_SUBSCRIPTION", "CONTROL_PLANE_GROUP", "CONTROL_PLANE_ACCOUNT")

# The audience of tokens for the control plane.
MANAGEMENT = "https://management.azure.com/"

# Seconds that the control plane, which is ready, may take for an answer.
_TIMEOUT = 30

PORTS = 5
HOST, IDENTITY, VAULT, FPGA = "Functions host", "identity endpoint", "Key Vault", "FPGA service"
CONTROL, TRITON, COLLECTOR = "control plane", "Triton", "collector"

# The services of the gateway that `up --triton` adds, and their models.
TRITON_SERVICES = {"triton": "files", "triton-uint8": "nhwc-uint8"}


@dataclass(frozen=True)
class Ports:
    """Loopback ports; 0 takes a free one. The defaults are those of local.settings.json."""

    host: int = 7071
    identity: int = 7072
    vault: int = 7073
    fpga: int = 7074
    control: int = 7075

    @classmethod
    def starting_at(cls, first: int) -> "Ports":
        return cls(*range(first, first + PORTS)) if first else cls(*[0] * PORTS)

    @property
    def names(self) -> Mapping[str, int]:
        """The ports by the names of the parts that use them."""
        return {HOST: self.host, IDENTITY: self.identity, VAULT: self.vault, FPGA: self.fpga, CONTROL: self.control}

    @property
    def first_spare(self) -> int:
        """The first port for services beside the stack's own; 0: any."""
        return self.control + 1 if 0 < self.control < HIGHEST_PORT else 0


@dataclass(frozen=True)
class Options:
    """How to start the stack; ``folder`` contains the logs and the state of the Functions host."""

    folder: Path = FOLDER
    ports: Ports = Ports()
    workers: int = 1
    engine: str = "model"
    latency_ms: float = LATENCY_MS
    enable_auth: bool = False
    quiet: bool = False
    triton: bool = False
    worker_process: bool = False
    telemetry: bool = False

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def golden(self) -> Path:
        return self.folder.resolve() / "golden"

    @property
    def keys_file(self) -> Path:
        return self.folder / "host-keys.json"


@dataclass(frozen=True)
class Addresses:
    """The addresses of the parts; ``host`` is empty where the Functions host was left out."""

    identity: str
    vault: str
    fpga: str
    control: str
    host: str = ""
    triton: str = ""
    telemetry: str = ""


def check_ports(ports: Ports, *, without_host: bool = False) -> None:
    """Check that the ports are free before anything is started.

    Another program may still take one before a part binds it, and the part reports that; but only this check can name
    the option of the stack.

    Raises:
        StackFailed: one cannot be bound.
    """
    for name, port in ports.names.items():
        if name == HOST and without_host:
            continue
        try:
            bind(_LOOPBACK, port).close()
        except PortUnavailable as error:
            remedy = "stop the program that uses it, or choose other ports with --ports-from N"
            raise StackFailed(f"The {name} cannot start: {error}: {remedy}") from None


async def start_services(supervisor: Supervisor, state: State, options: Options) -> Addresses:
    """Start everything that the gateway uses, side by side.

    Raises:
        StackFailed: a part cannot be started.
    """
    values, ports = settings(), options.ports
    write_atomically(state.identity_key, secrets.token_urlsafe(32).encode())
    place_services(state, ports.fpga, frozenset(ports.names.values()) - {ports.fpga})
    identity, vault, control = await supervisor.start(
        _identity(state, options), _vault(state, options), _control(state, options, values)
    )
    addresses = Addresses(identity, vault, await _find_fpga(control, state, values), control)
    if options.triton:
        (triton,) = await supervisor.start(Program(TRITON, "devstack.triton", [], options.logs / "triton.log"))
        addresses = replace(addresses, triton=triton)
    if options.telemetry:
        log = options.logs / "collector.log"
        (collector,) = await supervisor.start(Program(COLLECTOR, "devstack.collector", ["--port", "0"], log))
        addresses = replace(addresses, telemetry=collector)
    return addresses


async def _find_fpga(control: str, state: State, values: Mapping[str, str]) -> str:
    """The address of the FPGA service, from the control plane's API.

    Raises:
        StackFailed: it is not there.
    """
    token = tokens.issue(tokens.read_signing_key(state.signing_key), resource=MANAGEMENT, now=time.time())
    trusted = ssl.create_default_context(cafile=str(state.ca))
    try:
        async with httpx.AsyncClient(verify=trusted, trust_env=False, timeout=_TIMEOUT) as client:
            answer = await client.get(
                control + account(values).path("services"),
                params={"api-version": API_VERSION, "serviceName": SERVICE},
                headers={"Authorization": f"Bearer {token.value}"},
            )
        (service,) = answer.raise_for_status().json()["value"]
        return f"{service['ipAddress']}:{service['port']}"
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        raise StackFailed(f"The {CONTROL} does not list the service {SERVICE}: start again") from None


async def start_host(supervisor: Supervisor, addresses: Addresses, state: State, options: Options) -> Addresses:
    """Start the Functions host; it listens when its app has been indexed.

    Raises:
        StackFailed: it cannot be started.
    """
    app, of_package, local = ROOT, list[str](), dict[str, str]()
    if options.worker_process:
        app = await asyncio.to_thread(package.unpack)
        # The package has no local.settings.json. Variables that are set take precedence, as over that file.
        of_package = ["--worker-process", "--cors", ",".join(read_local_settings(SETTINGS_FILE).cors)]
        local = {name: value for name, value in settings().items() if name not in os.environ}
    arguments = [
        *("--app", str(app), "--port", str(options.ports.host), "--workers", str(options.workers)),
        *of_package,
        *("--state", str(options.folder), "--keys-file", str(options.keys_file)),
        *(["--enable-auth"] if options.enable_auth else []),
        *(["--quiet"] if options.quiet else []),
    ]
    variables = {**local, **environment(addresses, state), **golden_settings(options), **without_proxy(os.environ)}
    (host,) = await supervisor.start(Program(HOST, "devstack.host", arguments, environment=variables))
    return replace(addresses, host=host)


def function_key(options: Options) -> str:
    """The default key of the started host, which every function accepts.

    Raises:
        StackFailed: its file is missing.
    """
    try:
        keys: Mapping[str, str] = json.loads(options.keys_file.read_text(encoding="utf-8"))
        return keys["default"]
    except (OSError, ValueError, KeyError):
        raise StackFailed(f"The Functions host wrote no keys to {options.keys_file}: start again") from None


def account(values: Mapping[str, str]) -> Account:
    """The account that the control plane manages, from the gateway's app settings."""
    return Account(*(values[f"CONTROL_PLANE_{part}"] for part in ("SUBSCRIPTION", "GROUP", "ACCOUNT")))


def environment(addresses: Addresses, state: State) -> Mapping[str, str]:
    """The environment variables that make the gateway use the stack; they override local.settings.json.

    Raises:
        StackFailed: the key of the identity endpoint is missing.
    """
    return {**_places(addresses, state.ca), "IDENTITY_HEADER": _identity_key(state)}


def golden_settings(options: Options) -> Mapping[str, str]:
    """The setting of the service's golden photographs; none for the simulated engine, which knows no photographs."""
    return {f"{prefix(SERVICE)}GOLDEN": str(options.golden)} if options.engine == "model" else {}


def _identity_key(state: State) -> str:
    try:
        return state.identity_key.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise StackFailed(f"The file {state.identity_key} cannot be read: start the stack again") from None


def _places(addresses: Addresses, ca: Path) -> Mapping[str, str]:
    values = settings()
    fpga_port = addresses.fpga.rpartition(":")[2]
    services = [key for key in values if key.startswith("SERVICE__") and key.endswith("__PORT")]
    return {
        "IDENTITY_ENDPOINT": addresses.identity,
        "KEY_VAULT_URL": f"https://localhost:{urlsplit(addresses.vault).port}",
        "KEY_VAULT_CA_FILE": str(ca),
        "CONTROL_PLANE_ARM_ENDPOINT": f"https://localhost:{urlsplit(addresses.control).port}",
        "CONTROL_PLANE_CA_FILE": str(ca),
        **dict.fromkeys(services, fpga_port),
        **(_triton_settings(addresses.triton, values) if addresses.triton else {}),
        **(telemetry.settings(addresses.telemetry) if addresses.telemetry else {}),
    }


def _triton_settings(address: str, values: Mapping[str, str]) -> Mapping[str, str]:
    """The settings of the services before Triton, which has neither TLS nor keys here."""
    host, _, port = address.rpartition(":")
    found = {"SERVICES": ", ".join([values.get("SERVICES", ""), *TRITON_SERVICES])}
    for name, model in TRITON_SERVICES.items():
        own = {"PROTOCOL": "open-inference", "ADDRESS": host, "PORT": port, "MODEL": model}
        own["TLS"] = "insecure-no-key-is-sent"
        found |= {f"{prefix(name)}{key}": value for key, value in own.items()}
    return found


def overrides(addresses: Addresses, ca: Path) -> Mapping[str, str]:
    """The environment variables that a Functions host needs beside local.settings.json and IDENTITY_HEADER."""
    values = dict(settings())
    for name in _PATHS:
        values[name] = str(ROOT / values.get(name, ""))
    differing = {name: value for name, value in _places(addresses, ca).items() if values.get(name) != value}
    return {**differing, **without_proxy(os.environ)}


def without_proxy(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that exempt loopback from a proxy; none where the environment has no proxy."""
    if not any(name.lower() in PROXIES and value for name, value in environ.items()):
        return {}
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    names = ",".join([*filter(None, exempt.split(",")), "localhost", _LOOPBACK])
    # Libraries differ in which of the two they read.
    return dict.fromkeys(("no_proxy", "NO_PROXY"), names)


def settings() -> Mapping[str, str]:
    """The app settings in local.settings.json.

    Raises:
        StackFailed: the file is damaged, or lacks a setting that the stack needs.
    """
    try:
        values = read_local_settings(SETTINGS_FILE).values
    except HostError as error:
        raise StackFailed(str(error)) from None
    for name in _SHARED:
        if not values.get(name):
            raise StackFailed(
                f"{SETTINGS_FILE} has no setting {name}: restore it with git checkout {SETTINGS_FILE.name}"
            )
    return values


def _identity(state: State, options: Options) -> Program:
    program = _program(IDENTITY, "identity", options, options.ports.identity, "--signing-key", str(state.signing_key))
    # Not as an argument: other users of the machine see those.
    return replace(program, environment={"IDENTITY_HEADER": _identity_key(state)})


def _vault(state: State, options: Options) -> Program:
    return _program(
        *(VAULT, "vault", options, options.ports.vault),
        *("--folder", str(state.vault), "--signing-key", str(state.signing_key)),
        *("--certificate", str(state.vault_certificate), "--key", str(state.vault_key)),
    )


def _control(state: State, options: Options, values: Mapping[str, str]) -> Program:
    managed = account(values)
    return _program(
        *(CONTROL, "control", options, options.ports.control),
        *("--folder", str(state.control), "--signing-key", str(state.signing_key)),
        *("--data-ports", str(options.ports.first_spare)),
        *("--certificate", str(state.control_certificate), "--key", str(state.control_key)),
        *("--subscription", managed.subscription, "--group", managed.group, "--account", managed.name),
        *("--engine", options.engine, "--latency-ms", str(options.latency_ms)),
    )


def _program(name: str, module: str, options: Options, port: int, *arguments: str) -> Program:
    log = options.logs / f"{module}.log"
    return Program(name, f"devstack.{module}", ["--port", str(port), *arguments], log)
