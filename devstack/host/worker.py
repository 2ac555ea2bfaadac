"""The app, run by Microsoft's own worker library in this process and event loop; another way: devstack.host.remote.

The library keeps the app in module globals, so a process runs one app, once.
"""

import asyncio
import re
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import azure_functions_runtime as library
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

import devstack
from devstack.host import messages
from devstack.host.errors import HostError
from devstack.host.functions import Function

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
# The library appends its own advice and the whole of sys.path to an import error's message.
_LIBRARY_ADVICE = re.compile(r"\.? ?Cannot find module\. Please check the requirements\.txt.*", re.DOTALL)


class RaisedException(Protocol):
    """An exception as text, of either form of the protocol's messages."""

    @property
    def message(self) -> str: ...
    @property
    def stack_trace(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended. ``value`` is what the function returned; None for nothing."""

    succeeded: bool
    value: Datum | None = None
    error: str | None = None
    traceback: str | None = None


async def load_app(app: Path) -> list[messages.RpcFunctionMetadata]:
    """Import the app and list its functions. Call it in the event loop that will serve: gRPC channels are bound to one.

    Raises:
        HostError: the app cannot be imported or indexed, or has no function.
    """
    sys.path[:] = search_path(sys.path, app)
    library.start_threadpool_executor()
    init = SimpleNamespace(capabilities={}, function_app_directory=str(app))
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=init),
        properties={"host": "127.0.0.1", "protos": messages},
    )
    response = await library.worker_init_request(request)
    if response.result.status != messages.StatusResult.Success:
        raise HostError(explain_failure(app, response.result.exception))
    check_capabilities(response.capabilities)
    listed = await library.functions_metadata_request(request)
    if not listed.function_metadata_results:
        raise HostError(describe_absence(app))
    return list(listed.function_metadata_results)


async def invoke(
    function: Function,
    invocation_id: str,
    data: Datum,
    *,
    trace_parent: str = "",
    trace_state: str = "",
    timeout: float | None = None,  # noqa: ASYNC109 - a setting of host.json
) -> Outcome:
    """Run a function with its trigger's data; an exception in it is part of the outcome.

    Raises:
        TimeoutError: it ran longer than ``timeout`` seconds. A coroutine is cancelled, a thread is not.
    """
    inputs: Sequence[tuple[str, Datum]] = [(function.parameter, data)]
    running = invocation_request_native(invocation_id, function.id, inputs, {}, trace_parent, trace_state)
    outcome = running if timeout is None else asyncio.wait_for(running, timeout)
    succeeded, value, _outputs, error, trace = await outcome
    return Outcome(succeeded, value, error, trace)


def search_path(path: Sequence[str], app: Path) -> list[str]:
    """Put the app's folder last, as the real worker does: its modules must not hide those of installed packages.

    ``python -m`` puts the current folder first, from where the app could import modules that Azure does not have.
    """
    ours = Path(devstack.__file__).resolve().parent.parent
    others = [entry for entry in path if Path(entry).resolve() not in {ours, app}]
    return [*others, str(app)]


def stop() -> None:
    """End the threads of synchronous functions, after the functions that run."""
    library.stop_threadpool_executor()


def check_capabilities(capabilities: Container[str]) -> None:
    """Refuse an app that asks for what this host does not have.

    Raises:
        HostError: it does.
    """
    if "HttpUri" in capabilities:
        raise HostError(
            "the app uses HTTP streaming (azurefunctions-extensions-http-fastapi), which this host does not support:"
            " use func.HttpRequest, or run the app with `func start`"
        )


def explain_failure(app: Path, exception: RaisedException) -> str:
    """One line about where and why the import failed."""
    cause = " ".join(_LIBRARY_ADVICE.sub("", exception.message).split())
    frames = [match for match in _FRAME.finditer(exception.stack_trace) if _belongs_to(match["file"], app)]
    where = f"{Path(frames[-1]['file']).resolve().relative_to(app)}, line {frames[-1]['line']}: " if frames else ""
    remedy = " (install it, or add it to requirements.txt)" if cause.startswith("ModuleNotFoundError") else ""
    return f"the app could not be loaded, so it has no function: {where}{cause}{remedy}"


def _belongs_to(file: str, app: Path) -> bool:
    path = Path(file)
    return path.is_absolute() and path.resolve().is_relative_to(app) and "site-packages" not in path.parts


def describe_absence(app: Path) -> str:
    """Why the app has no function."""
    if not (app / "function_app.py").exists():
        return f"no function_app.py in {app}: start the host in the app's folder, or name it with --app"
    return "the app has no function: register one on the FunctionApp in function_app.py"
