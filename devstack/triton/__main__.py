"""``python -m devstack.triton``: serve the local model with Triton until a signal. Prints ``ready ADDRESS``."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import grpc

from devstack.arguments import port
from devstack.errors import CommandError
from devstack.model import ensure_built
from devstack.sockets import bind
from devstack.triton import MODELS, ensure_environment, write_repository
from protos.open_inference_pb2 import ServerReadyRequest, ServerReadyResponse

_HOST = "127.0.0.1"
_LABELS = Path(__file__).resolve().parents[2] / "shared" / "scoring" / "label_lists" / "imagenet.txt"
_READY_SECONDS, _STOP_SECONDS = 60, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit code is 0 after a signal and 1 if it cannot start."""
    options = _parse(arguments)
    try:
        with tempfile.TemporaryDirectory() as repository:
            return asyncio.run(_serve(options, Path(repository)))
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.triton", description="A real Triton with the local model, over gRPC."
    )
    add = parser.add_argument
    add("--port", type=port, default=0, help="port of gRPC; 0 takes a free one (%(default)s)")
    add("--http-port", type=port, help="port of HTTP, without TLS (default: none)")
    add("--certificate", type=Path, metavar="FILE", help="certificate chain, PEM: gRPC uses TLS")
    add("--key", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    add("--models", nargs="+", choices=MODELS, default=[*MODELS], help="which to load (default: all)")
    add("--share-port", action="store_true", help="let another server listen on the same port")
    add("--clients", type=Path, metavar="FILE", help="authority of the clients' certificates, PEM: mutual TLS")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace, repository: Path) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    environment = ensure_environment()
    write_repository(repository, environment.packages, ensure_built(), _LABELS, options.models)
    chosen = options.port or _free_port()
    command = environment.command(repository, *_options(options, chosen))
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment.variables}, stdout=sys.stderr, start_new_session=True
    )
    ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
    try:
        ready = asyncio.ensure_future(_ready(options, f"localhost:{chosen}"))
        await asyncio.wait((ended, stopped, ready), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set() and not ended.done():
            print(f"ready {_HOST}:{chosen}", flush=True)
        ready.cancel()
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise CommandError(f"Triton ended with code {ended.result()}")
        return 0
    finally:
        stopped.cancel()
        await _end(process)


def _options(options: argparse.Namespace, number: int) -> list[str]:
    found = ["--allow-metrics", "false", "--grpc-address", _HOST, "--grpc-port", str(number)]
    if options.http_port:
        found += ["--http-address", _HOST, "--http-port", str(options.http_port)]
    else:
        found += ["--allow-http", "false"]
    if options.certificate:
        found += ["--grpc-use-ssl", "true", "--grpc-server-cert", str(options.certificate)]
        found += ["--grpc-server-key", str(options.key)]
    if options.share_port:
        found += ["--reuse-grpc-port", "true"]
    if options.clients:
        found += ["--grpc-use-ssl-mutual", "true", "--grpc-root-cert", str(options.clients)]
    return found


def _free_port() -> int:
    with bind(_HOST, 0) as free:
        return int(free.getsockname()[1])


async def _ready(options: argparse.Namespace, address: str) -> None:
    """Wait until the server is ready; with mutual TLS, until it listens."""
    if options.clients or options.certificate:
        host, _, number = address.rpartition(":")
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, int(number))
                writer.close()
                return
            await asyncio.sleep(0.05)
    async with grpc.aio.insecure_channel(address) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerReady"
        )
        request = ServerReadyRequest().SerializeToString()
        while not ServerReadyResponse.FromString(  # noqa: ASYNC110 - of another process
            await method(request, wait_for_ready=True, timeout=_READY_SECONDS)
        ).ready:
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the server with the processes that run its models; its own way takes seconds for each of them."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


if __name__ == "__main__":
    sys.exit(main())
