"""The command line, and the configuration that results from it and from the app's settings files."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack import arguments
from devstack.host.cors import Cors
from devstack.host.errors import HostError
from devstack.host.links import Inheritance
from devstack.host.settings import HostJson, LocalSettings, read_host_json, read_local_settings, split_origins

# How many connections may wait to be accepted.
BACKLOG = 2048


@dataclass(frozen=True)
class Setup:
    """How the host runs. Folders and files are absolute.

    ``state`` is the folder of timers and keys. Without ``keys_file``, keys are not enforced. When the host stops,
    running invocations may take ``grace`` seconds to end. With ``worker_process`` the app runs in a process of its own,
    as in Azure. ``inherited`` is what a supervisor passed to this worker.
    """

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
    worker_process: bool
    inherited: Inheritance | None

    @property
    def leads(self) -> bool:
        """Whether this process alone runs timers, and functions that are run by hand."""
        return self.inherited is None or self.inherited.index == 0

    @property
    def patience(self) -> float:
        """Seconds after which a process that has not stopped kills itself."""
        return self.grace + 1

    @property
    def supervisor_patience(self) -> float:
        """Seconds after which a supervisor kills its workers, which should end by themselves."""
        return self.patience + 2


def parse_arguments(given: Sequence[str]) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        SystemExit: with code 2, after a line that names the error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m devstack.host",
        description="Run a function app on this machine, as `func start` does.",
    )
    add = parser.add_argument
    add("--app", type=Path, default=Path(), help="the app's folder (default: the current one)")
    add("--port", type=arguments.port, help="default: LocalHttpPort of local.settings.json, or 7071; 0 takes any")
    add("--address", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add("--workers", type=arguments.whole_number(1), default=1, help="worker processes (default: %(default)s)")
    add("--worker-process", action="store_true", help="run the app in a process of its own over gRPC, as Azure does")
    add("--enable-auth", action="store_true", help="enforce keys, as Azure does")
    add("--keys-file", type=Path, help="where the keys are kept (default: host-keys.json in --state)")
    add("--cors", help="origins that browsers may call from, separated by commas, or *")
    add("--cors-credentials", action="store_true", help="let these origins send credentials")
    add("--state", type=Path, help="where timers and keys are kept (default: .devstack in the app)")
    add(
        "--grace",
        type=arguments.seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long requests may take to end when the host stops (default: %(default)g)",
    )
    add("--quiet", action="store_true", help="log warnings and errors only")
    # What a supervisor passes to its workers; not for users.
    add("--inherit", type=Inheritance.parse, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def read_setup(options: argparse.Namespace) -> Setup:
    """Read the app's settings files; the command line takes precedence over them.

    Raises:
        HostError: a file is damaged, or a value in it is not allowed.
    """
    app: Path = options.app.resolve()
    if not app.is_dir():
        raise HostError(f"there is no folder {app}: name the app's folder with --app")
    if options.worker_process and options.workers != 1:
        raise HostError("--worker-process starts one worker: leave out --workers")
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
        worker_process=options.worker_process,
        inherited=options.inherit,
    )
