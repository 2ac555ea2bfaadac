"""One worker process: the first as a placeholder that becomes the app, as in Flex Consumption, a later one as the app.

A request that arrives while no worker serves waits for the next one. Those that a worker was answering when it ended
fail, also where it was killed because one of them took longer than ``functionTimeout``: a function cannot be stopped.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
import sys
import time
import uuid
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Any

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.functions_worker.function_rpc_pb2 import (
    FunctionEnvironmentReloadRequest,
    FunctionLoadRequest,
    FunctionsMetadataRequest,
    InvocationRequest,
    ParameterBinding,
    RpcFunctionMetadata,
    RpcLog,
    RpcTraceContext,
    StatusResult,
    WorkerInitRequest,
)
from devstack.host.errors import HostError
from devstack.host.functions import Function
from devstack.host.logs import log
from devstack.host.remote.data import returned_datum, typed_data
from devstack.host.remote.folder import FOLDER, ensure_folder
from devstack.host.remote.stream import Stream, StreamEnded, StreamServer
from devstack.host.worker import Outcome, check_capabilities, describe_absence, explain_failure
from devstack.supervisor import describe_exit

SITE_PACKAGES = Path(".python_packages/lib/site-packages")

# Seconds for a worker to serve, and for a request to wait for one.
_START_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
# After a worker that served this long, in seconds, the pauses are short again.
_STABLE_AFTER = 30.0

# What the process of a placeholder has of the host's environment.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
_LEVELS = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


class RemoteWorker:
    """Runs an app; made and used inside the event loop."""

    # _serving   the stream of the worker that serves; awaited while none does
    # _contexts  those of the invocations in progress, in which their records of the log are handled

    def __init__(self, app: Path) -> None:
        self._app = app
        self._serving: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self._contexts: dict[str, contextvars.Context] = {}

    async def start(self) -> list[RpcFunctionMetadata]:
        """Start a worker, and list the functions of its app.

        Raises:
            HostError: the app cannot be imported or indexed, or has no function.
        """
        self._folder = await asyncio.to_thread(ensure_folder)
        self._server = await StreamServer.open()
        self._stream, self._process = await self._spawn(placeholder=True)
        try:
            found = await self._begin(placeholder=True)
        except StreamEnded as error:
            await self._end()
            raise HostError(f"the worker ended before it served ({error})") from None
        except HostError:
            await self._end()
            raise
        self._keeper = asyncio.create_task(self._keep())
        return found

    async def invoke(
        self,
        function: Function,
        invocation_id: str,
        data: Datum,
        *,
        trace_parent: str = "",
        trace_state: str = "",
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of host.json
    ) -> Outcome:
        """Run a function with its trigger's data, as :func:`devstack.host.worker.invoke` does in this process.

        Raises:
            TimeoutError: it ran longer than ``timeout`` seconds; the worker was killed.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                stream = await asyncio.shield(self._serving)
        except TimeoutError:
            return Outcome(succeeded=False, error="no worker serves")
        self._contexts[invocation_id] = contextvars.copy_context()
        try:
            async with asyncio.timeout(timeout):
                answer = await stream.ask(
                    invocation_id,
                    invocation_request=InvocationRequest(
                        invocation_id=invocation_id,
                        function_id=function.id,
                        input_data=[ParameterBinding(name=function.parameter, data=typed_data(data))],
                        trace_context=RpcTraceContext(trace_parent=trace_parent, trace_state=trace_state),
                    ),
                )
        except StreamEnded as error:
            return Outcome(succeeded=False, error=f"the worker ended ({error})")
        except TimeoutError:
            self._kill()
            raise
        finally:
            del self._contexts[invocation_id]
        response = answer.invocation_response
        if response.result.status == StatusResult.Success:
            return Outcome(True, returned_datum(response.return_value))
        raised = response.result.exception
        return Outcome(False, error=raised.message, traceback=raised.stack_trace)

    async def close(self) -> None:
        """End the worker, in whatever state it is, and its children."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])
        await self._end()

    async def _end(self) -> None:
        self._kill()
        await self._process.wait()
        await self._server.close()

    async def _keep(self) -> None:
        """Start another worker whenever one ends."""
        pause, started = _FIRST_PAUSE, time.monotonic()
        while True:
            how = describe_exit(await self._process.wait())
            if self._serving.done():
                self._serving = asyncio.get_running_loop().create_future()
            if time.monotonic() - started > _STABLE_AFTER:
                pause = _FIRST_PAUSE
            log.warning("The worker (pid %d) ended (%s): starting another", self._process.pid, how)
            await asyncio.sleep(pause)
            pause, started = min(pause * 2, _LONGEST_PAUSE), time.monotonic()
            self._stream, self._process = await self._spawn(placeholder=False)
            try:
                await self._begin(placeholder=False)
            except (HostError, StreamEnded) as error:
                log.error("The worker did not start: %s", error)
                self._kill()

    async def _spawn(self, *, placeholder: bool) -> tuple[Stream, Process]:
        stream = Stream(str(uuid.uuid4()), self._log)
        self._server.expect(stream)
        process = await asyncio.create_subprocess_exec(
            _interpreter(),
            *("-m", "functions_worker", "--host", "127.0.0.1", "--port", str(self._server.port)),
            *("--workerId", stream.worker_id, "--requestId", str(uuid.uuid4()), "--grpcMaxMessageLength", "2147483647"),
            stdin=DEVNULL,
            stdout=sys.stderr,
            cwd=_standby() if placeholder else self._app,
            env=self._variables(placeholder=placeholder),
            # A terminal's Ctrl-C is for the host alone.
            start_new_session=True,
        )
        asyncio.create_task(process.wait()).add_done_callback(lambda ended: stream.end(describe_exit(ended.result())))
        return stream, process

    def _variables(self, *, placeholder: bool) -> dict[str, str]:
        """The environment of the process. That of a placeholder has nothing of the app but its place."""
        own = {name: os.environ[name] for name in _INHERITED if name in os.environ} if placeholder else self._settings()
        return {
            **own,
            "AzureWebJobsScriptRoot": str(self._app),
            "CONTAINER_NAME": "local",
            "WEBSITE_PLACEHOLDER_MODE": "1" if placeholder else "0",
            "PYTHONPATH": os.pathsep.join([str(self._app / SITE_PACKAGES), str(self._folder)]),
            "PYTHONNOUSERSITE": "1",
        }

    @staticmethod
    def _settings() -> dict[str, str]:
        """The app settings: the host's environment without what concerns its own interpreter."""
        own = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV")
        return {name: value for name, value in os.environ.items() if name not in own}

    async def _begin(self, *, placeholder: bool) -> list[RpcFunctionMetadata]:
        """Have the worker that was started load the app."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                found = await self._load(self._stream, placeholder=placeholder)
        except TimeoutError:
            raise HostError(f"the worker did not serve within {_START_SECONDS:g} s") from None
        self._serving.set_result(self._stream)
        return found

    async def _load(self, stream: Stream, *, placeholder: bool) -> list[RpcFunctionMetadata]:
        init = WorkerInitRequest(
            host_version="4.1040.0",
            worker_directory=str(self._folder.parents[2]),
            function_app_directory=str(_standby() if placeholder else self._app),
        )
        response: Any = (await stream.ask("worker_init_response", worker_init_request=init)).worker_init_response
        self._check(response.result)
        if placeholder:
            asked = time.perf_counter()
            variables = {**self._settings(), "WEBSITE_PLACEHOLDER_MODE": "0", "AzureWebJobsScriptRoot": str(self._app)}
            reload = FunctionEnvironmentReloadRequest(
                environment_variables=variables, function_app_directory=str(self._app)
            )
            name = "function_environment_reload_response"
            response = getattr(await stream.ask(name, function_environment_reload_request=reload), name)
            self._check(response.result)
            log.info("The worker's placeholder became the app in %d ms", (time.perf_counter() - asked) * 1000)
        check_capabilities(response.capabilities)
        request = FunctionsMetadataRequest(function_app_directory=str(self._app))
        listed = await stream.ask("function_metadata_response", functions_metadata_request=request)
        found = list(listed.function_metadata_response.function_metadata_results)
        if not found:
            raise HostError(describe_absence(self._app))
        for function in found:
            load = FunctionLoadRequest(function_id=function.function_id, metadata=function)
            answer = await stream.ask(function.function_id, function_load_request=load)
            self._check(answer.function_load_response.result)
        return found

    def _check(self, result: StatusResult) -> None:
        if result.status != StatusResult.Success:
            raise HostError(explain_failure(self._app, result.exception))

    def _log(self, record: RpcLog) -> None:
        """Log a record of the worker itself, or one of an invocation that runs; as in Azure, any other is lost."""
        logger, level = logging.getLogger(record.category), _LEVELS[min(record.level, len(_LEVELS) - 1)]
        context = self._contexts.get(record.invocation_id)
        if context is not None:
            context.run(logger.log, level, "%s", record.message)
        elif record.log_category == RpcLog.System:
            logger.log(level, "%s", record.message)

    def _kill(self) -> None:
        # With the processes that it started. The number is not reused while one of them runs.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _interpreter() -> str:
    """The Python that made this one's virtual environment: it has none of the environment's packages."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _standby() -> Path:
    """The folder of an app that is not there yet."""
    folder = FOLDER / "standby" / "wwwroot"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
