"""The images to score: files, folders, standard input; found one after another, never all at once."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from scoring_client.results import Problem

STDIN = "-"

# What is taken out of folders; a file that is named is taken as it is, for the gateway to judge.
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

# No Functions host takes a larger body; in bytes.
MAX_BYTES = 100 * 1024 * 1024

# So many names of a folder are put in order at a time: all, in most folders, and never too many for the memory.
_SORTED = 10_000


@dataclass(frozen=True)
class Source:
    """A place where an image is. ``problem`` is set where it is already known that there is none to be had."""

    name: str
    problem: Problem | None = None


class Unreadable(Exception):
    """The bytes cannot be had; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def walk(paths: Iterable[str]) -> Iterator[Source]:
    """Every named file, and the images below every named folder; links to folders are not followed.

    What lies in a folder is left out when its name begins with a dot.
    """
    for path in paths:
        if path != STDIN and os.path.isdir(path):  # noqa: PTH112 - names stay as they were given, byte for byte
            yield from _below(path)
        else:
            yield Source(path)


def read(name: str) -> bytes:
    """The bytes of a file.

    Raises:
        Unreadable: it is not there, may not be read, is empty or far too large.
    """
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - as above
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(_cannot(error)) from error
    return check(data)


def check(data: bytes) -> bytes:
    """Refuse what need not be sent.

    Raises:
        Unreadable: there is nothing, or more than any gateway takes.
    """
    if not data:
        raise Unreadable(Problem("The file is empty"))
    if len(data) > MAX_BYTES:
        raise Unreadable(Problem("The file is too large", "No gateway takes more than 100 MB."))
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
            yield Source(here, _cannot(error))
        else:
            folders += reversed(deeper)


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each name would cost more than the look
    return suffix in SUFFIXES and entry.is_file()


def _cannot(error: Exception) -> Problem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem("The file cannot be read", f"{reason}.")
