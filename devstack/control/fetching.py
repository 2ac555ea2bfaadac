"""Fetches a model's archive, from a file or a web server of this machine."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

import httpx

from devstack.control.errors import InvalidPackage
from devstack.control.packages import MAX_MODEL_BYTES
from devstack.rest.errors import BadRequest

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Seconds without a byte.
_PATIENCE = 10.0


async def fetch(url: str, target: Path) -> None:
    """Copy the file at ``url`` to ``target``.

    Other machines are not allowed, and redirects are not followed: clients must not be able to make the control plane
    send requests to places that they cannot reach.

    Raises:
        BadRequest: the URL is neither ``file:`` nor ``http:`` of loopback.
        InvalidPackage: there is no file, or it is too large.
    """
    try:
        parts = urlsplit(url)
        local = parts.hostname in (None, *_LOOPBACK)
    except ValueError:
        raise BadRequest("url is not a URL") from None
    if parts.scheme == "file" and local:
        await asyncio.to_thread(_copy, parts, target)
    elif parts.scheme == "http" and parts.hostname and local:
        await _download(url, target)
    else:
        raise BadRequest("url must be a file: of this machine, or http: at localhost")


def _copy(parts: SplitResult, target: Path) -> None:
    source = Path(url2pathname(parts.path))
    try:
        if not source.is_file():
            raise InvalidPackage(f"there is no file {parts.path}")
        if source.stat().st_size > MAX_MODEL_BYTES:
            raise InvalidPackage(f"the file is larger than {MAX_MODEL_BYTES} bytes")
        shutil.copyfile(source, target)
    except OSError as error:
        raise InvalidPackage(f"the file {parts.path} cannot be read: {error.strerror}") from None


async def _download(url: str, target: Path) -> None:
    try:
        async with (
            httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise InvalidPackage(f"the server of the model answered {response.status_code}")
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    if file.tell() + len(chunk) > MAX_MODEL_BYTES:
                        raise InvalidPackage(f"the file is larger than {MAX_MODEL_BYTES} bytes")
                    file.write(chunk)
    except (httpx.HTTPError, httpx.InvalidURL):
        raise InvalidPackage("the model could not be downloaded: check that the URL can be fetched") from None
