"""The command line, and what it makes together with the app's settings files."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.host.cors import Cors
from devstack.host.errors import HostError
from devstack.host.links import Inheritance
from devstack.host.settings import (
    HostJson,
    LocalSettings,
    read_host_json,
    read_local_settings,
    split_origins,
)


@dataclass(frozen=True)
class Setup:
    """How the host is to run. Folders and files are absolute; without ``keys_file``, no key is asked for."""

    app: Path
    state: Path
    local: LocalSettings
    host: HostJson
    cors: Cors | None
    keys_file: Path | None
    address: str
    port: int
    workers: int
    grace: float
    log_level: str
    inherited: Inheritance | None

    @property
    def patience(self) -> float:
        """How long a process may take to stop before it is ended hard, in seconds."""
        return self.grace + 1

    @property
    def supervisor_patience(self) -> float:
        """How long a supervisor waits for its workers, in seconds: they are to end by themselves."""
        return self.patience + 2


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; ends the process where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.host",
        description="Run a function app on this machine, as `func start` does.",
    )
    parser.add_argument("--app", type=Path, default=Path(), help="the app's folder (default: the current one)")
    parser.add_argument("--port", type=int, help="default: LocalHttpPort of local.settings.json, or 7071; 0 takes any")
    parser.add_argument("--address", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (default: %(default)s)")
    parser.add_argument("--enable-auth", action="store_true", help="ask for keys as Azure does")
    parser.add_argument("--keys-file", type=Path, help="where the keys are kept (default: host-keys.json in --state)")
    parser.add_argument("--cors", help="origins that browsers may call from, separated by commas, or *")
    parser.add_argument("--cors-credentials", action="store_true", help="let these origins send credentials")
    parser.add_argument("--state", type=Path, help="where timers and keys are kept (default: .devstack in the app)")
    parser.add_argument(
        "--grace",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how long requests may take to end when the host stops (default: %(default)g)",
    )
    parser.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    # What a supervisor hands to its workers; not for people.
    parser.add_argument("--inherit", type=Inheritance.parse, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    if options.grace < 0:
        parser.error("--grace must not be negative")
    if options.port is not None and not 0 <= options.port <= 65535:
        parser.error("--port must be from 0 to 65535")
    return options


def read_setup(options: argparse.Namespace) -> Setup:
    """Read the app's settings files, and put the command line's word before theirs.

    Raises:
        HostError: a file is damaged, or something in it is not allowed.
    """
    app: Path = options.app.resolve()
    if not app.is_dir():
        raise HostError(f"there is no folder {app}: name the app's with --app")
    local, host = read_local_settings(app / "local.settings.json"), read_host_json(app / "host.json")
    state = options.state.absolute() if options.state else app / ".devstack"
    origins = local.cors if options.cors is None else split_origins(options.cors)
    keys_file = options.keys_file.absolute() if options.keys_file else state / "host-keys.json"
    return Setup(
        app=app,
        state=state,
        local=local,
        host=host,
        cors=Cors.configure(origins, credentials=options.cors_credentials or local.cors_credentials),
        keys_file=keys_file if options.enable_auth else None,
        address=options.address,
        port=local.port if options.port is None else options.port,
        workers=options.workers,
        grace=options.grace,
        log_level="WARNING" if options.quiet else host.log_level,
        inherited=options.inherit,
    )
