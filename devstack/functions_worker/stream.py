"""The worker: answers the messages of the host's stream, with Microsoft's library for all that concerns the app."""

import asyncio
import logging
import os
import queue
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from . import function_rpc_pb2 as protos
from .packages import Packages

_METHOD = "/AzureFunctionsRpcMessages.FunctionRpc/EventStream"
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_CONNECT_SECONDS = 5.0

_SYSTEM = (str(__package__), "azure.functions", "azure_functions_runtime")
_LEVELS = {
    logging.CRITICAL: protos.RpcLog.Critical,
    logging.ERROR: protos.RpcLog.Error,
    logging.WARNING: protos.RpcLog.Warning,
    logging.INFO: protos.RpcLog.Information,
    logging.NOTSET: protos.RpcLog.Debug,
}

log = logging.getLogger(str(__package__))


@dataclass
class Request:
    """What the library gets: its handlers read these fields."""

    name: str
    request: Any
    properties: dict[str, Any] | None = None


class InvocationTask(asyncio.Task[Any]):
    """A task of an invocation, as are the tasks that it starts: so the records of the log name it."""

    def __init__(self, work: Any, **options: Any) -> None:
        super().__init__(work, **options)
        self.invocation_id: str = getattr(asyncio.current_task(options["loop"]), "invocation_id", "")


class Worker:
    """One connection to the host, from the start of this process to its end."""

    def __init__(self, address: str, worker_id: str, request_id: str, packages: Packages) -> None:
        self._address, self._worker_id, self._request_id = address, worker_id, request_id
        self._packages = packages
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._library: Any = None
        self._handlers: dict[str, Callable[[Any], Awaitable[dict[str, Any]]]] = {
            "worker_init_request": self._init,
            "function_environment_reload_request": self._reload,
            "functions_metadata_request": self._list,
            "function_load_request": self._load,
            "worker_status_request": self._report_status,
            "invocation_request": self._invoke,
        }

    async def serve(self) -> None:
        """Open the stream, and answer what comes over it for ever: the process ends with the stream."""
        loop = asyncio.get_running_loop()
        connected = loop.create_future()
        threading.Thread(target=self._read, args=(loop, connected), daemon=True).start()
        await connected
        loop.set_task_factory(lambda loop, work, **options: InvocationTask(work, loop=loop, **options))
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(_Handler(self))
        self.send(start_stream=protos.StartStream(worker_id=self._worker_id))
        await loop.create_future()

    def send(self, **content: Any) -> None:
        """Send a message; any thread may call it."""
        self._outgoing.put(protos.StreamingMessage(request_id=self._request_id, **content))

    def invocation_id(self) -> str:
        """The invocation to which the calling code belongs; empty for none."""
        try:
            found = getattr(asyncio.current_task(), "invocation_id", "")
        except RuntimeError:  # a thread without an event loop
            found = ""
        return found or (self._library and self._library.invocation_id_cv.get()) or ""

    def _read(self, loop: asyncio.AbstractEventLoop, connected: asyncio.Future[None]) -> None:
        """Read the stream, in a thread."""
        try:
            with grpc.insecure_channel(self._address, _UNLIMITED) as channel:
                grpc.channel_ready_future(channel).result(_CONNECT_SECONDS)
                loop.call_soon_threadsafe(connected.set_result, None)
                call = channel.stream_stream(
                    _METHOD, protos.StreamingMessage.SerializeToString, protos.StreamingMessage.FromString
                )
                for message in call(self._messages()):
                    loop.call_soon_threadsafe(loop.create_task, self._answer(message))
        finally:
            # In Azure the host kills its workers, or the container ends. Here a host may be killed itself.
            os._exit(1)

    def _messages(self) -> Iterator[Any]:
        while True:
            yield self._outgoing.get()

    async def _answer(self, message: Any) -> None:
        kind = message.WhichOneof("content")
        if kind not in self._handlers:
            log.error("Unknown StreamingMessage content type: %s", kind)
            return
        self.send(**await self._handlers[kind](message))

    async def _init(self, message: Any) -> dict[str, Any]:
        # A placeholder does not know its app yet.
        if os.environ.get("WEBSITE_PLACEHOLDER_MODE") != "1":
            self._packages.prefer_app()
        self._import_library()
        request = Request("WorkerInitRequest", message, self._properties())
        return {"worker_init_response": await self._library.worker_init_request(request)}

    async def _reload(self, message: Any) -> dict[str, Any]:
        self._packages.prefer_app(message.function_environment_reload_request.function_app_directory)
        self._import_library()
        request = Request("FunctionEnvironmentReloadRequest", message, self._properties())
        response = await self._library.function_environment_reload_request(request)
        return {"function_environment_reload_response": response}

    async def _list(self, message: Any) -> dict[str, Any]:
        request = Request("WorkerMetadataRequest", message)
        return {"function_metadata_response": await self._library.functions_metadata_request(request)}

    async def _load(self, message: Any) -> dict[str, Any]:
        request = Request("FunctionLoadRequest", message)
        return {"function_load_response": await self._library.function_load_request(request)}

    async def _report_status(self, _message: Any) -> dict[str, Any]:
        return {"worker_status_response": protos.WorkerStatusResponse()}

    async def _invoke(self, message: Any) -> dict[str, Any]:
        asked, task = message.invocation_request, asyncio.current_task()
        if isinstance(task, InvocationTask):
            task.invocation_id = asked.invocation_id
        log.info(
            "Received FunctionInvocationRequest, request ID %s, function_id: %s, invocation_id: %s, worker_id: %s",
            self._request_id,
            asked.function_id,
            asked.invocation_id,
            self._worker_id,
        )
        request = Request("FunctionInvocationRequest", message)
        return {"invocation_response": await self._library.invocation_request(request)}

    def _properties(self) -> dict[str, Any]:
        return {"protos": protos, "host": self._address.rpartition(":")[0]}

    def _import_library(self) -> None:
        import azure_functions_runtime  # noqa: PLC0415 - once more after the worker's modules were forgotten

        self._library = azure_functions_runtime
        self._library.start_threadpool_executor()


class _Handler(logging.Handler):
    """Sends the log to the host."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        system = record.name.startswith(_SYSTEM)
        try:
            self._worker.send(
                rpc_log=protos.RpcLog(
                    invocation_id=self._worker.invocation_id(),
                    category=record.name,
                    level=next(number for level, number in _LEVELS.items() if record.levelno >= level),
                    message=self.format(record),
                    log_category=protos.RpcLog.System if system else protos.RpcLog.User,
                )
            )
        except Exception as error:  # whatever the record holds; logging it would come here again
            print(f"A record of the log cannot be sent: {error}", file=sys.stderr)
