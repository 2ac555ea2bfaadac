"""One cold start, as the worker in Azure has it: a program of its own, run by :mod:`benchmarks.cold_samples`.

    python -P benchmarks/cold_worker.py '{"root": "...", "image": "...", "warm_up": false, "probed": false}'

It imports the worker library, has it index the app, and invokes the function ``score`` natively. The last line that
it prints is JSON: the moments, on CLOCK_MONOTONIC, which this process shares with the one that started it.
"""

# ruff: noqa: E402 - the first moment comes before any import, and each import belongs to a part that is measured

import time

_BEGUN = time.monotonic_ns()

import json
import signal
import sys

# Whatever happens, this process ends, also without the one that started it.
_LONGEST_SECONDS = 120
signal.alarm(_LONGEST_SECONDS)

_ORDER = json.loads(sys.argv[1])
# As the worker has it: the app's folder is the last that is searched.
sys.path.append(_ORDER["root"])
_MOMENTS = {"begun": _BEGUN, "prepared": time.monotonic_ns()}

import asyncio
import importlib
import os
from pathlib import Path
from typing import Any

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.functions import make_function

_APP = "function_app"
_TARGETS = {"score": "httptrigger", "warm_up": "warmuptrigger"}


def note(name: str) -> None:
    """Note the moment."""
    _MOMENTS[name] = time.monotonic_ns()


def note_the_apps_import() -> None:
    """Have the moments noted at which the worker library begins and ends to import the app."""
    really = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name != _APP:
            return really(name, package)
        note("importing")
        try:
            return really(name, package)
        finally:
            note("imported")

    importlib.import_module = import_module


async def start() -> dict[str, Any]:
    """The cold start, up to the first scored answer."""
    note("library")
    found = await worker.load_app(Path(_ORDER["root"]))
    note("indexed")
    print("-- indexed", file=sys.stderr, flush=True)  # between the lines of -X importtime
    functions = {each.name: make_function(each, os.environ) for each in found if each.name in _TARGETS}
    image = _image()
    spans: list[Any] = []
    if _ORDER["warm_up"]:
        note("warming")
        await _succeed(functions["warm_up"], Datum("", "string"))
        note("warmed")
    if _ORDER["probed"]:
        from benchmarks.cold_spans import watch  # noqa: PLC0415 - only then is it part of the start

        spans = watch()
    note("asked")
    value = await _succeed(functions["score"], _request(image))
    note("answered")
    return {"status": value["status_code"].value, "moments": _MOMENTS, "spans": spans}


def _image() -> bytes:
    return Path(_ORDER["image"]).read_bytes()


async def _succeed(function: Any, data: Datum) -> Any:
    outcome = await worker.invoke(function, "3205e161-bfea-40af-af0d-50c9dec5a00c", data)
    if not outcome.succeeded:
        raise SystemExit(f"The function {function.name} failed: {outcome.error}")
    return outcome.value.value if outcome.value is not None else None


def _request(image: bytes) -> Datum:
    headers = {"host": "localhost", "content-type": "image/jpeg", "content-length": str(len(image))}
    value = {
        "method": Datum("POST", "string"),
        "url": Datum("http://localhost/api/score", "string"),
        "headers": {name: Datum(text, "string") for name, text in headers.items()},
        "query": {},
        "params": {},
        "body": Datum(image, "bytes"),
    }
    return Datum(value, "http")


if __name__ == "__main__":
    note_the_apps_import()
    print(json.dumps(asyncio.run(start())), flush=True)
    # What follows would only end threads and channels: nobody waits for that.
    os._exit(0)
