"""``python -m devstack.fpga``: serve until a signal. Prints ``ready ADDRESS`` when it accepts calls."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from devstack.arguments import milliseconds, port, whole_number
from devstack.errors import CommandError
from devstack.fpga import faults
from devstack.fpga.access import KeyRing
from devstack.fpga.engines import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.faults import FaultSwitch
from devstack.fpga.files import Watched
from devstack.fpga.identity import Identity, KeyPair
from devstack.fpga.recorder import Recorder
from devstack.fpga.requests import Model
from devstack.fpga.service import MESSAGE_LIMIT, Endpoint, Service
from devstack.keys import parse_keys
from devstack.sockets import PortUnavailable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service; the exit code is 0 after a signal and 1 if it cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="fpga: %(message)s")
    options = _parse(arguments)
    try:
        asyncio.run(_serve(options))
    except PortUnavailable as error:
        print(f"{error}: stop the program that uses it, or choose another --port", file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'start'}: {error.strerror or error}", file=sys.stderr)
    except (CommandError, ValueError) as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.fpga",
        description="The FPGA inference service: TensorFlow Serving's gRPC API over TLS, with keys.",
        epilog="The certificate, the keys and the faults are read again when their files change.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=port, default=0, help="port to listen on; 0 takes a free one (%(default)s)")
    add("--certificate", type=Path, metavar="FILE", help="certificate chain, leaf first, PEM")
    add("--key", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    add("--keys", type=Path, metavar="FILE", help='JSON: {"primaryKey": "...", "secondaryKey": "..."}')
    add("--insecure", action="store_true", help="no TLS and no keys")
    add("--engine", choices=("model", "simulated"), default="model", help="what scores (%(default)s)")
    add("--latency-ms", type=milliseconds, default=1.8, help="simulated: time for one image (%(default)s)")
    add("--batch", type=whole_number(1), default=1, help="simulated: images that take that time together (%(default)s)")
    add("--classes", type=whole_number(2), default=1000, help="simulated: values in an answer (%(default)s)")
    add("--model", type=Path, metavar="FILE", help="an ONNX file in place of the local model")
    add(
        "--output",
        choices=("probabilities", "logits", "features"),
        default="probabilities",
        help="the kind of answer (%(default)s); features have the shape [N,1,1,size]",
    )
    add("--name", default="imagenet", help="name of the model (%(default)s)")
    add("--model-version", type=whole_number(0), default=1, help="version of the model (%(default)s)")
    add("--message-limit", type=whole_number(1), default=MESSAGE_LIMIT, help="bytes, both directions (%(default)s)")
    add("--faults", type=Path, metavar="FILE", help="JSON with faults to inject; see devstack/fpga/faults.py")
    add("--record", type=Path, metavar="FILE", help="append calls, without keys, as lines of JSON")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with _service(options) as service:
        await service.start()
        print(f"ready {service.address}", flush=True)
        await stop.wait()
        await service.stop()


@contextlib.contextmanager
def _service(options: argparse.Namespace) -> Iterator[Service]:
    """Make the service, and close its parts at the end."""
    keys, identity = _security(options)
    recorder = Recorder(options.record)
    with contextlib.closing(recorder), contextlib.closing(_engine(options)) as engine:
        yield Service(
            Model(options.name, options.model_version, engine.output_shape),
            engine,
            keys=keys,
            identity=identity,
            endpoint=Endpoint(options.host, options.port, options.message_limit),
            faults=_faults(options.faults),
            recorder=recorder,
        )


def _security(options: argparse.Namespace) -> tuple[KeyRing | None, Identity | None]:
    files = {"--certificate": options.certificate, "--key": options.key, "--keys": options.keys}
    if options.insecure:
        if any(files.values()):
            raise CommandError(f"--insecure contradicts {', '.join(name for name in files if files[name])}")
        return None, None
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise CommandError(f"{' and '.join(missing)} missing: add them, or --insecure")
    keys = Watched((options.keys,), parse_keys)
    pairs = Watched((options.certificate, options.key), KeyPair)
    pair = _read(pairs, "--certificate and --key")
    return KeyRing(_read(keys, "--keys"), keys.poll), Identity(pair, pairs.poll)


def _read[T](watched: Watched[T], option: str) -> T:
    try:
        return watched.read()
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from None


def _engine(options: argparse.Namespace) -> Engine:
    if options.engine == "simulated":
        return SimulatedEngine(options.latency_ms, classes=options.classes, output=options.output, batch=options.batch)
    return ModelEngine(options.model, options.output)


def _faults(path: Path | None) -> FaultSwitch:
    if path is None:
        return FaultSwitch()
    watched: Watched[Any] = Watched((path,), faults.parse, missing=faults.Faults())
    return FaultSwitch(_read(watched, "--faults"), watched.poll)


if __name__ == "__main__":
    sys.exit(main())
