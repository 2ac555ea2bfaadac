"""The command line of ``python -m devstack.fpga``, and the service that it describes."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.fpga import access, faults
from devstack.fpga.access import KeyRing
from devstack.fpga.engines import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.faults import FaultSwitch
from devstack.fpga.files import Watched
from devstack.fpga.identity import Identity, KeyPair
from devstack.fpga.recorder import Recorder
from devstack.fpga.requests import Model
from devstack.fpga.service import MESSAGE_LIMIT, Endpoint, Service


class OptionsError(ValueError):
    """The options ask for what cannot be; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service and what must be closed after it."""

    service: Service
    engine: Engine

    def close(self) -> None:
        self.engine.close()
        self.service.recorder.close()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; prints the usage and exits when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.fpga",
        description="The FPGA inference service: TensorFlow Serving's gRPC API over TLS, with keys.",
        epilog="The certificate, the keys and the faults are read again when their files change.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0 lets the system choose (%(default)s)")
    add("--certificate", type=Path, metavar="FILE", help="certificate chain, leaf first, PEM")
    add("--key", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    add("--keys", type=Path, metavar="FILE", help='JSON: {"primaryKey": "...", "secondaryKey": "..."}')
    add("--insecure", action="store_true", help="no TLS, and therefore no keys")
    add("--engine", choices=("model", "simulated"), default="model", help="what scores (%(default)s)")
    add("--latency-ms", type=float, default=1.8, help="simulated: time for one image (%(default)s)")
    add("--classes", type=int, default=1000, help="simulated: values in an answer (%(default)s)")
    add("--model", type=Path, metavar="FILE", help="an ONNX file in place of the local model")
    add(
        "--output",
        choices=("probabilities", "logits", "features"),
        default="probabilities",
        help="what is answered (%(default)s); features have the shape [N,1,1,size]",
    )
    add("--name", default="imagenet", help="name of the model (%(default)s)")
    add("--model-version", type=int, default=1, help="version of the model (%(default)s)")
    add("--message-limit", type=int, default=MESSAGE_LIMIT, help="bytes, for both ways (%(default)s)")
    add("--faults", type=Path, metavar="FILE", help="JSON with faults to show; see devstack/fpga/faults.py")
    add("--record", type=Path, metavar="FILE", help="append what arrives, without keys, as lines of JSON")
    return parser.parse_args(arguments)


def create(options: argparse.Namespace) -> Running:
    """Make the service, not yet started.

    Raises:
        OptionsError: the options contradict each other.
        ValueError: a file holds something else than its option says.
        OSError: a file cannot be read.
    """
    keys, identity = _security(options)
    recorder = Recorder(options.record)
    engine = _engine(options)
    service = Service(
        Model(options.name, options.model_version, engine.output_shape),
        engine,
        keys=keys,
        identity=identity,
        endpoint=Endpoint(options.host, options.port, options.message_limit),
        faults=_faults(options.faults),
        recorder=recorder,
    )
    return Running(service, engine)


def _security(options: argparse.Namespace) -> tuple[KeyRing | None, Identity | None]:
    files = {"--certificate": options.certificate, "--key": options.key, "--keys": options.keys}
    if options.insecure:
        if any(files.values()):
            raise OptionsError(f"--insecure contradicts {', '.join(name for name in files if files[name])}")
        return None, None
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise OptionsError(f"{' and '.join(missing)} missing: give them, or --insecure")
    keys = Watched((options.keys,), access.parse)
    pairs = Watched((options.certificate, options.key), KeyPair)
    return (
        KeyRing(_read(keys, "--keys"), keys.poll),
        Identity(_read(pairs, "--certificate and --key"), pairs.poll),
    )


def _read[T](watched: Watched[T], option: str) -> T:
    try:
        return watched.read()
    except ValueError as error:
        raise OptionsError(f"{option}: {error}") from None


def _engine(options: argparse.Namespace) -> Engine:
    if options.engine == "simulated":
        if options.classes < 2:
            raise OptionsError("--classes must be 2 or more")
        return SimulatedEngine(options.latency_ms, classes=options.classes, output=options.output)
    return ModelEngine(options.model or _build(), options.output)


def _build() -> Path:
    # onnx, which the simulated engine need not load.
    from devstack.model import ensure_built  # noqa: PLC0415

    return ensure_built()


def _faults(path: Path | None) -> FaultSwitch:
    if path is None:
        return FaultSwitch()
    watched: Watched[Any] = Watched((path,), faults.parse, missing=faults.Faults())
    return FaultSwitch(_read(watched, "--faults"), watched.poll)
