"""The addresses of a running stack, in a file of its folder for other commands: ``addresses.json``.

The file exists while the stack serves; the file of a stack that was killed is removed at the next start.
"""

import json
from dataclasses import asdict
from pathlib import Path

from devstack.errors import CommandError
from devstack.files import write_atomically
from devstack.stack import Addresses


class NoStack(CommandError):
    """No stack runs with that folder."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"{problem} in {folder}: start a stack with `make run`,"
            " or name its folder with --state DIR if it has another"
        )


def announce(folder: Path, addresses: Addresses) -> None:
    """Write the addresses of the stack of ``folder``.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(_file(folder), json.dumps(asdict(addresses), indent=1).encode() + b"\n")


def withdraw(folder: Path) -> None:
    """Remove the file, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    _file(folder).unlink(missing_ok=True)


def find(folder: Path) -> Addresses:
    """The addresses of the running stack of ``folder``.

    Raises:
        NoStack: there is none.
    """
    try:
        return Addresses(**json.loads(_file(folder).read_bytes()))
    except (OSError, ValueError, TypeError):
        raise NoStack(folder, "No stack is running") from None


def _file(folder: Path) -> Path:
    return folder / "addresses.json"
