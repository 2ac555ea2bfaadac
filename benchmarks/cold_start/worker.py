"""One cold start, as that of a worker in Azure: a program, run by :mod:`benchmarks.cold_start.measure`.

    python -P benchmarks/cold_start/worker.py ORDER

ORDER is {"root": "...", "image": "...", "warm_up": false, "later": 0, "observed": false}, in JSON.

It imports the worker library, has it index the app, and invokes the function ``score`` natively. Its last line of
output is JSON: the moments, on CLOCK_MONOTONIC, which this process shares with the one that started it.
"""

# ruff: noqa: E402 - the first moment is before any import, and each import belongs to a measured part

import time

_BEGUN = time.monotonic_ns()

import json
import signal
import sys

# This process ends in any case, also after the one that started it.
_LONGEST_SECONDS = 120
signal.alarm(_LONGEST_SECONDS)

_ORDER = json.loads(sys.argv[1])
# As in the worker: the app's folder is searched last.
sys.path.append(_ORDER["root"])
_MOMENTS = {"begun": _BEGUN, "prepared": time.monotonic_ns()}

import asyncio
import importlib
import os
from pathlib import Path
from typing import Any

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.datums import request_datum
from devstack.host.functions import make_function

_APP = "function_app"
_TARGETS = {"score": "httptrigger", "warm_up": "warmuptrigger"}


def note(name: str) -> None:
    """Note the moment."""
    _MOMENTS[name] = time.monotonic_ns()


def note_the_apps_import() -> None:
    """Note the moments at which the worker library begins and ends to import the app."""
    original = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name != _APP:
            return original(name, package)
        note("importing")
        try:
            return original(name, package)
        finally:
            note("imported")

    importlib.import_module = import_module


async def start() -> dict[str, Any]:
    """The cold start, up to the first answer."""
    note("library")
    found = await worker.load_app(Path(_ORDER["root"]))
    note("indexed")
    print("-- indexed", file=sys.stderr, flush=True)  # between the lines of -X importtime
    functions = {each.name: make_function(each, os.environ) for each in found if each.name in _TARGETS}
    request = _request()
    spans: list[Any] = []
    if _ORDER["warm_up"]:
        note("warming")
        await _succeed(functions["warm_up"], Datum("", "string"))
        note("warmed")
    await asyncio.sleep(_ORDER["later"])
    if _ORDER["observed"]:
        from benchmarks.harness.function_spans import Spans  # noqa: PLC0415 - not in the other kinds of start
        from benchmarks.harness.internals import FIRST_REQUEST_PARTS  # noqa: PLC0415 - as above

        recorder = Spans(FIRST_REQUEST_PARTS, imports=True)
        spans = recorder.ended
        recorder.start()
    note("requested")
    value = await _succeed(functions["score"], request)
    note("answered")
    cpu = time.process_time_ns()
    return {"status": value["status_code"].value, "moments": _MOMENTS, "spans": spans, "cpu": cpu}


async def _succeed(function: Any, data: Datum) -> Any:
    outcome = await worker.invoke(function, "3205e161-bfea-40af-af0d-50c9dec5a00c", data)
    if not outcome.succeeded:
        raise SystemExit(f"The function {function.name} failed: {outcome.error}")
    return outcome.value.value if outcome.value is not None else None


def _request() -> Datum:
    image = Path(_ORDER["image"]).read_bytes()
    headers = {b"host": b"localhost", b"content-type": b"image/jpeg", b"content-length": b"%d" % len(image)}
    scope = {"method": "POST", "scheme": "http", "raw_path": b"/api/score", "query_string": b""}
    return request_datum(scope, headers, {}, image)


if __name__ == "__main__":
    note_the_apps_import()
    print(json.dumps(asyncio.run(start())), flush=True)
    # What would follow ends threads and channels, which is not measured.
    os._exit(0)
