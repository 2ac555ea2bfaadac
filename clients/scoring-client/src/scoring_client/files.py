"""The images to score: files, folders, standard input; found one at a time, never all at once."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from scoring_client.results import Problem

STDIN = "-"

# The files taken from folders. A file named on the command line is always sent; the gateway decides about it.
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

# In bytes: no Functions host accepts a larger body.
MAX_BYTES = 100 * 1024 * 1024

# How many names of a folder are sorted at a time: all of most folders, and a bounded amount of memory.
_SORTED = 10_000


@dataclass(frozen=True)
class Source:
    """Where an image is. ``problem`` is set if it is already known that it cannot be read."""

    name: str
    problem: Problem | None = None


class Unreadable(Exception):
    """An image cannot be read or sent; ``problem`` is the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def walk(paths: Iterable[str]) -> Iterator[Source]:
    """Every file named, and the images below every folder named; links to folders are not followed.

    Names in folders that start with a dot are left out.
    """
    for path in paths:
        if path != STDIN and os.path.isdir(path):  # noqa: PTH112 - names stay as given, byte for byte
            yield from _below(path)
        else:
            yield Source(path)


def read(name: str) -> bytes:
    """The bytes of a file.

    Raises:
        Unreadable: it does not exist, is not readable, empty or too large.
    """
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - as above
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(_unreadable(error)) from error
    return check(data)


def check(data: bytes) -> bytes:
    """Reject bytes that no gateway accepts.

    Raises:
        Unreadable: they are empty, or too large.
    """
    if not data:
        raise Unreadable(Problem("The file is empty"))
    if len(data) > MAX_BYTES:
        raise Unreadable(Problem("The file is too large", "No gateway accepts more than 100 MB."))
    return data


def _below(folder: str) -> Iterator[Source]:
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                visible = (entry for entry in entries if not entry.name.startswith("."))
                deeper = []
                while block := sorted(islice(visible, _SORTED), key=lambda entry: entry.name):
                    deeper += [entry.path for entry in block if entry.is_dir(follow_symlinks=False)]
                    yield from (Source(entry.path) for entry in block if _is_image(entry))
        except OSError as error:
            yield Source(here, _unreadable(error))
        else:
            folders += reversed(deeper)


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path per name would take longer than the test
    return suffix in SUFFIXES and entry.is_file()


def _unreadable(error: Exception) -> Problem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem("The file cannot be read", f"{reason}.")
