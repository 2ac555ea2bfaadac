"""Scores a sample photograph over HTTP and prints what came back, as a newcomer's first proof that all of it works."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from devstack.photos import photo

PHOTO = "coffee"
_BAR = 24


class SampleFailed(Exception):
    """The photograph was not scored; the message says why."""


async def score(address: str, key: str = "") -> None:
    """Send the photograph as its raw bytes to the default service, and print its labels.

    Raises:
        SampleFailed: the gateway answered with a problem.
        PhotoError: the photograph is not installed.
    """
    path = photo(PHOTO)
    headers = {"Content-Type": f"image/{path.suffix[1:]}"} | ({"x-functions-key": key} if key else {})
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        response = await client.post(f"{address}/api/score", content=path.read_bytes(), headers=headers)
    if response.status_code != 200:
        raise SampleFailed(_problem(response))
    _print(path.name, response.json(), response.headers["Server-Timing"])


def _print(name: str, answer: Mapping[str, Any], timing: str) -> None:
    labels: Sequence[Mapping[str, Any]] = answer["predictions"][0]["labels"]
    width = max(len(label["label"]) for label in labels)
    print(f"\n{name} scored by the service {answer['service']!r}:\n")
    for label in labels:
        bar = "█" * round(label["score"] * _BAR)
        print(f"  {label['label']:<{width}}  {label['score']:7.2%}  {bar}".rstrip())
    print(f"\n  {timing.replace(';dur=', ' ')} (ms)")


def _problem(response: httpx.Response) -> str:
    if response.headers.get("Content-Type") != "application/problem+json":
        return f"The sample photograph was not scored: status {response.status_code}."
    problem = response.json()
    return f"The sample photograph was not scored: {problem['title']}. {problem['detail']} {problem.get('remedy', '')}"
