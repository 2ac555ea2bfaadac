"""Where a running stack listens, told in a file of its folder to those who want to work with it: ``addresses.json``.

It is there while the stack serves; one that was left behind, by a stack that was killed, goes at the next start.
"""

import json
from dataclasses import asdict
from pathlib import Path

from devstack.stack import Addresses
from devstack.vault.files import write_atomically


class NoStack(Exception):
    """No stack runs with that folder; the message is one line that says how to start one."""

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(
            f"{what} in {folder}: start a stack with `make run`, or name its folder with --state DIR if it has another"
        )


def announce(folder: Path, addresses: Addresses) -> None:
    """Tell where the stack of ``folder`` listens.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(_file(folder), json.dumps(asdict(addresses), indent=1).encode() + b"\n")


def withdraw(folder: Path) -> None:
    """Tell no more; nothing happens where nothing was told.

    Raises:
        OSError: the file cannot be removed.
    """
    _file(folder).unlink(missing_ok=True)


def find(folder: Path) -> Addresses:
    """Where the stack of ``folder`` listens, if it still does.

    Raises:
        NoStack: none has said so.
    """
    try:
        return Addresses(**json.loads(_file(folder).read_bytes()))
    except (OSError, ValueError, TypeError):
        raise NoStack(folder, "No stack is running") from None


def _file(folder: Path) -> Path:
    return folder / "addresses.json"
