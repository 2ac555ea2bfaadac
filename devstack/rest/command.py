"""The commands that run a REST server: the options that they share, and their end before the server listens."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from devstack import arguments
from devstack.errors import CommandError
from devstack.tokens import TENANT


def server_parser(module: str, description: str, *, tls: bool = True) -> argparse.ArgumentParser:
    """A parser with the options of every REST server; with ``tls`` also those of one that keeps a state."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    add = parser.add_argument
    add("--port", type=arguments.port, metavar="N", required=True, help="loopback port; 0 takes a free one")
    add("--signing-key", type=Path, required=True, help="raw key (32 bytes or more) that access tokens are signed with")
    add("--tenant", default=TENANT, help="tenant of the tokens (default: %(default)s)")
    if tls:
        add("--folder", type=Path, required=True, help="where the state is kept; made if missing")
        add("--certificate", type=Path, required=True, help="PEM chain to serve TLS with, leaf first")
        add("--key", type=Path, required=True, help="PEM private key of the leaf")
    return parser


def run(
    parser: argparse.ArgumentParser, given: Sequence[str] | None, serve: Callable[[argparse.Namespace], None]
) -> int:
    """Serve until stopped; returns the process's exit code.

    ``serve`` imports what takes long to load: until the server handles the signals itself, they end the process here.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not by an exception, which an import may catch.
        signal.signal(number, lambda *_: os._exit(0))
    options = parser.parse_args(given)
    try:
        serve(options)
    except (CommandError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def open_state[T](kind: Callable[[Path], T], folder: Path, server: str) -> T:
    """Open the state of a server in a folder.

    Raises:
        CommandError: the folder cannot be used, or a file in it is damaged.
    """
    try:
        return kind(folder)
    except OSError as error:
        raise CommandError(
            f"cannot use {error.filename or folder} for the {server}: {error.strerror}; pass a --folder you can write"
        ) from None
