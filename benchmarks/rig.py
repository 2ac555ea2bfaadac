"""What the benchmarks share: the local stack on free ports, the app in this process, a photograph of a given size.

The services that the gateway talks to are processes of their own, as in life. The app itself runs either in the local
Functions host, another process, or in this one, invoked through the same worker library.
"""

import argparse
import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from azure_functions_runtime.bindings.datumdef import Datum
from PIL import Image

from devstack import stack
from devstack.host import worker
from devstack.host.acceptance import Accepted, accept
from devstack.host.datums import request_datum
from devstack.host.errors import HostError
from devstack.host.functions import Function
from devstack.host.settings import read_host_json
from devstack.photos import PhotoError, photo
from devstack.stack import Addresses, Options, Ports
from devstack.state import CERTIFICATE, State, StateUnusable, hold
from devstack.supervisor import Program, StackFailed, Supervisor
from devstack.vault.store import VaultStore

# As the Functions host gives them to an invocation; https://www.w3.org/TR/trace-context/#examples-of-http-traceparent-headers.
INVOCATION_ID = "3205e161-bfea-40af-af0d-50c9dec5a00c"
TRACE_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


# App settings as in production, where the local stack's are in a hurry: those read Key Vault every ten seconds, and
# look at the certificate every five. And room for every request: how the gateway refuses is measured by itself.
CALM = {
    "CREDENTIALS_REFRESH_SECONDS": "300",
    "ROTATION_SCHEDULE": "0 */5 * * * *",
    "SERVICE__IMAGENET__MAX_CONCURRENCY": "1024",
    "SERVICE__IMAGENET_TENSOR__MAX_CONCURRENCY": "1024",
}


class Invalid(Exception):
    """What was measured is not what should be; the message is one line."""


@dataclass(frozen=True)
class Bench:
    """The stack of one benchmark, not yet started: its processes end with the benchmark, its state is deleted."""

    supervisor: Supervisor
    state: State
    options: Options

    async def start_services(self) -> Addresses:
        """Start the identity endpoint, Key Vault, and the control plane with the FPGA service.

        Raises:
            StackFailed: one of them cannot be started.
        """
        return await stack.start_services(self.supervisor, self.state, self.options)

    async def start_quick_service(self) -> str:
        """Start the simulated engine without the cost of gRPC's server in Python; returns its address.

        It presents the FPGA service's certificate.

        Raises:
            StackFailed: it cannot be started.
        """
        certificate = self.options.folder / "quick-service.pem"
        certificate.write_text(VaultStore(self.state.vault).get(CERTIFICATE).value)
        arguments = ["--certificate", str(certificate)]
        log = self.options.logs / "quick-service.log"
        (address,) = await self.supervisor.start(Program("quick service", "benchmarks.quick_service", arguments, log))
        return address

    def settings(self, addresses: Addresses) -> dict[str, str]:
        """The app settings that point the gateway at the services."""
        return {
            **stack.settings(),
            **stack.environment(addresses, self.state.ca),
            **stack.without_proxy(os.environ),
        }


def run(measure: Callable[[Bench], Awaitable[None]]) -> int:
    """Run a benchmark with a simulated engine that takes no time; returns the exit code, and prints what failed."""
    try:
        result(measure)
    except (StackFailed, StateUnusable, PhotoError, HostError, Invalid) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter's last flush must not fail over it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def part(
    program: str,
    measure: Callable[[bool], Mapping[str, Any]],
    report: Callable[[Mapping[str, Any]], str],
    arguments: Sequence[str] | None,
) -> int:
    """A part of ``make bench`` as a command of its own: measure, and print the report; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--quick", action="store_true", help="a look, to see that all works")
    options = parser.parse_args(arguments)
    try:
        print(report(measure(options.quick)), end="")
    except (Invalid, StackFailed, StateUnusable, PhotoError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def result[T](measure: Callable[[Bench], Awaitable[T]], latency_ms: float = 0) -> T:
    """What a benchmark returns, run with a simulated engine of that latency and a state of its own.

    Raises:
        StackFailed, StateUnusable: the local stack cannot run. Whatever else ``measure`` raises.
    """
    # gRPC would tell each handshake that fails, some a second.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder, hold(Path(folder)) as state:
            options = Options(
                folder=Path(folder),
                ports=Ports.starting_at(0),
                engine="simulated",
                latency_ms=latency_ms,
                quiet=True,
            )
            return asyncio.run(_supervised(measure, state, options))
    finally:
        worker.stop()


async def _supervised[T](measure: Callable[[Bench], Awaitable[T]], state: State, options: Options) -> T:
    supervisor = Supervisor()
    results: list[T] = []

    async def work() -> None:
        results.append(await measure(Bench(supervisor, state, options)))

    await supervisor.run(work())
    return results[0]


@dataclass(frozen=True)
class Request:
    """An HTTP request as the worker library takes it, and the function that it is for."""

    function: Function
    datum: Datum


class App:
    """The function app in this process and event loop, invoked natively, as the local Functions host does it."""

    def __init__(self, accepted: Accepted) -> None:
        self._functions = {function.name: function for function in accepted.functions}
        self._match = accepted.routes.match

    @classmethod
    async def load(cls, settings: Mapping[str, str]) -> Self:
        """Import and index the app, with ``settings`` in the environment.

        Raises:
            HostError: the app cannot be loaded.
        """
        os.environ.update(settings)
        found = await worker.load_app(stack.ROOT)
        return cls(accept(found, os.environ, read_host_json(stack.ROOT / "host.json").route_prefix))

    def request(self, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Describe a POST; a query may follow the path. Headers given here win over those that a client adds.

        Raises:
            LookupError: no function has such a route.
        """
        path, _, query = target.partition("?")
        matched = self._match("POST", path.encode())
        if matched is None:
            raise LookupError(f"no function answers POST {path}")
        given = {"Host": "localhost:7071", "Content-Length": str(len(body)), **headers}
        raw = {name.lower().encode(): value.encode() for name, value in given.items()}
        scope = {"method": "POST", "scheme": "http", "raw_path": path.encode(), "query_string": query.encode()}
        return Request(self._functions[matched[0]], request_datum(scope, raw, matched[1], body))

    async def invoke(self, request: Request) -> worker.Outcome:
        """Run the function once, with a trace of its own."""
        return await worker.invoke(request.function, INVOCATION_ID, request.datum, trace_parent=TRACE_PARENT)

    async def score(self, request: Request) -> None:
        """As :meth:`invoke`, and see to it that there was a score.

        Raises:
            Invalid: there was none.
        """
        answer = (await self.invoke(request)).value
        if answer is None or answer.value["status_code"].value != "200":
            raise Invalid(f"The image was not scored: {answer and answer.value['body'].value}")


def jpeg(size: int) -> bytes:
    """A photograph as a JPEG file of at most ``size`` bytes, and little less.

    Raises:
        PhotoError: no sample photographs are installed.
        ValueError: ``size`` is too small for any.
    """
    with Image.open(photo("coffee")) as image:
        picture = image.convert("RGB")
    for width in range(600, 50, -10):
        small = picture.resize((width, width * 2 // 3))
        file = io.BytesIO()
        small.save(file, "JPEG", quality=85)
        if file.tell() <= size:
            return file.getvalue()
    raise ValueError(f"no photograph has as few as {size} bytes")


def at_least(least: int) -> Callable[[str], int]:
    """A type of command-line argument: a whole number, not smaller."""

    def whole(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, not {text!r}")
        return int(text)

    return whole
