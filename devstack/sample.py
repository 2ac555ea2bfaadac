"""Scores a sample photograph over HTTP and prints the answer, to show a new user that everything works."""

import codecs
import mimetypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from devstack.errors import CommandError
from devstack.photos import photo

PHOTO = "coffee"

_BAR = 24

# The first answer of a gateway takes longest: it fetches credentials, and connects. In seconds.
_TIMEOUT = 30


class SampleFailed(CommandError):
    """The photograph was not scored."""


@dataclass(frozen=True)
class Upload:
    """A photograph's file."""

    name: str
    content: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


def load() -> Upload:
    """The sample photograph.

    Raises:
        PhotoError: it is not installed.
        SampleFailed: it cannot be read.
    """
    file = photo(PHOTO)
    try:
        return Upload(file.name, file.read_bytes())
    except OSError as error:
        raise SampleFailed(f"The sample photograph {file} cannot be read ({error.strerror}).") from None


def copy_to(folder: Path, upload: Upload) -> Path:
    """Put the photograph into a folder, from which users can upload it; returns its path."""
    file = folder / upload.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(upload.content)
    return file


async def score(address: str, upload: Upload, key: str = "", trace: str = "") -> None:
    """Send the photograph as raw bytes to the default service, and print its labels; ``trace`` is a traceparent.

    Raises:
        SampleFailed: the gateway answered with a problem, or not at all.
    """
    given = {"Content-Type": upload.content_type, "x-functions-key": key, "traceparent": trace}
    headers = {name: value for name, value in given.items() if value}
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            response = await client.post(f"{address}/api/score", content=upload.content, headers=headers)
    except httpx.HTTPError as error:
        raise SampleFailed(
            f"The sample photograph was not scored: {address} did not answer ({str(error) or type(error).__name__})."
        ) from None
    if response.status_code != 200:
        raise SampleFailed(problem_of(response))
    print(table(upload.name, response.json(), response.headers.get("Server-Timing", "")), flush=True)


def table(name: str, answer: Mapping[str, Any], timing: str) -> str:
    """The labels of the first image, with a bar for each score, and the gateway's times."""
    labels: Sequence[Mapping[str, Any]] = answer["predictions"][0]["labels"]
    width = max(len(label["label"]) for label in labels)
    mark = _mark(getattr(sys.stdout, "encoding", None))
    lines = [f"\n{name} scored by the service {answer['service']!r}:\n"]
    for label in labels:
        bar = mark * round(label["score"] * _BAR)
        lines.append(f"  {label['label']:<{width}}  {label['score']:7.2%}  {bar}".rstrip())
    if timing:
        lines.append(f"\n  {timing.replace(';dur=', ' ')} (ms)")
    return "\n".join(lines)


def printable(text: str) -> str:
    """A text with bars as the terminal can show them."""
    return text.replace("\N{FULL BLOCK}", _mark(getattr(sys.stdout, "encoding", None)))


def _mark(encoding: str | None) -> str:
    """The character that bars consist of: a block, where the terminal can show one."""
    block = "\N{FULL BLOCK}"
    try:
        codecs.encode(block, encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return block


def problem_of(response: httpx.Response) -> str:
    """A line about a response other than 200."""
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return f"The sample photograph was not scored: status {response.status_code}."
    problem = response.json()
    parts = (problem["title"].rstrip(".") + ".", problem["detail"], problem.get("remedy", ""))
    return " ".join(["The sample photograph was not scored:", *filter(None, parts)])
