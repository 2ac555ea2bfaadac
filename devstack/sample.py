"""Scores a sample photograph over HTTP and prints what came back, as a newcomer's first proof that all of it works."""

import codecs
import mimetypes
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from devstack.photos import photo

PHOTO = "coffee"

_BAR = 24

# The first answer of a gateway takes longer than any other: it fetches credentials, and connects. In seconds.
_PATIENCE = 30


class SampleFailed(Exception):
    """The photograph was not scored; the message says why."""


@dataclass(frozen=True)
class Upload:
    """A photograph's file: what is sent."""

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


async def score(address: str, upload: Upload, key: str = "") -> None:
    """Send the photograph as its raw bytes to the default service, and print its labels.

    Raises:
        SampleFailed: the gateway answered with a problem, or not at all.
    """
    headers = {"Content-Type": upload.content_type} | ({"x-functions-key": key} if key else {})
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
            response = await client.post(f"{address}/api/score", content=upload.content, headers=headers)
    except httpx.HTTPError as error:
        raise SampleFailed(
            f"The sample photograph was not scored: {address} gave no answer ({str(error) or type(error).__name__})."
        ) from None
    if response.status_code != 200:
        raise SampleFailed(_problem(response))
    print(table(upload.name, response.json(), response.headers.get("Server-Timing", "")), flush=True)


def table(name: str, answer: Mapping[str, Any], timing: str) -> str:
    """The first image's labels, with a bar for each one's score, and the times that the gateway took."""
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


def _mark(encoding: str | None) -> str:
    """What bars are made of: a block, where the terminal can show one."""
    block = "\N{FULL BLOCK}"
    try:
        codecs.encode(block, encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return block


def _problem(response: httpx.Response) -> str:
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return f"The sample photograph was not scored: status {response.status_code}."
    problem = response.json()
    told = (problem["title"].rstrip(".") + ".", problem["detail"], problem.get("remedy", ""))
    return " ".join(["The sample photograph was not scored:", *filter(None, told)])
