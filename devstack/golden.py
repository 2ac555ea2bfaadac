"""The golden photographs of the local stack's service: sample photographs, and what its model makes of them."""

import asyncio
import json
import shutil
from pathlib import Path

import httpx

from devstack.errors import CommandError
from devstack.photos import photo

EXPECTED = Path(__file__).with_suffix(".json")

# Seconds for the check, which takes a moment, and between two questions for its result: it is known a second later.
_SECONDS, _PAUSE = 10.0, 0.5


def prepare(folder: Path) -> Path:
    """Put the photographs and ``expected.json`` into a folder; returns it.

    Raises:
        PhotoError: a photograph is not installed.
        CommandError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in json.loads(EXPECTED.read_text(encoding="utf-8"))["photographs"]:
            shutil.copyfile(photo(Path(name).stem), folder / name)
        shutil.copyfile(EXPECTED, folder / "expected.json")
    except OSError as error:
        raise CommandError(f"The golden photographs cannot be put into {folder} ({error.strerror}).") from None
    return folder


async def result(address: str, service: str) -> str:
    """What the gateway reports of the service's golden photographs, as ``4 of 4``; empty where it does not respond."""
    found = ""
    try:
        async with asyncio.timeout(_SECONDS), httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            while True:
                answer = (await client.get(f"{address}/api/health/ready")).json()
                found = str(answer["services"][service].get("golden", "not checked"))
                if found != "checking":
                    return found
                await asyncio.sleep(_PAUSE)
    except (TimeoutError, httpx.HTTPError, ValueError, LookupError):
        return found
