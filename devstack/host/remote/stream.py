"""The host's side of the gRPC streams: workers connect to it, each with one stream of messages in both directions.

The protocol: https://github.com/Azure/azure-functions-language-worker-protobuf.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc

from devstack.functions_worker.function_rpc_pb2 import RpcLog, StreamingMessage

_SERVICE, _METHOD = "AzureFunctionsRpcMessages.FunctionRpc", "EventStream"
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

type OnLog = Callable[[RpcLog], None]

# Seconds for streams to end.
_GRACE = 1.0


class StreamEnded(Exception):
    """The worker ended before it answered; the message says how."""


class Stream:
    """The messages to and from one worker."""

    # _answers   the answers that are awaited, by the name of the message or by the id in it
    # _outgoing  what is to be sent; the messages before the worker has connected wait there too

    def __init__(self, worker_id: str, on_log: OnLog) -> None:
        self.worker_id = worker_id
        self._on_log = on_log
        self._answers: dict[str, asyncio.Future[StreamingMessage]] = {}
        self._outgoing: asyncio.Queue[StreamingMessage] = asyncio.Queue()
        self._end: str | None = None

    async def ask(self, key: str, **content: Any) -> StreamingMessage:
        """Send a message, and return its answer: the one of that name, or with that id.

        Raises:
            StreamEnded: the worker ends, or has ended.
        """
        if self._end is not None:
            raise StreamEnded(self._end)
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        self._outgoing.put_nowait(StreamingMessage(request_id=key, **content))
        try:
            return await answer
        finally:
            self._answers.pop(key, None)

    def end(self, how: str) -> None:
        """The worker has ended: nothing will be answered."""
        self._end = how
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(StreamEnded(how))

    async def run(self, messages: AsyncIterator[StreamingMessage], context: Any) -> None:
        """Send and receive until the worker closes the stream."""
        sender = asyncio.create_task(self._send(context))
        try:
            async for message in messages:
                self._receive(message)
        finally:
            sender.cancel()

    async def _send(self, context: Any) -> None:
        while True:
            await context.write(await self._outgoing.get())

    def _receive(self, message: StreamingMessage) -> None:
        kind = message.WhichOneof("content")
        if kind == "rpc_log":
            self._on_log(message.rpc_log)
            return
        content = getattr(message, kind) if kind else None
        key = getattr(content, "invocation_id", "") or getattr(content, "function_id", "") or str(kind)
        answer = self._answers.get(key)
        # Of an invocation that took too long nobody awaits it.
        if answer is not None and not answer.done():
            answer.set_result(message)


class StreamServer:
    """Listens on a free port of loopback."""

    def __init__(self) -> None:
        self._expected: dict[str, Stream] = {}
        self._server = grpc.aio.server(options=_UNLIMITED)
        handler = grpc.stream_stream_rpc_method_handler(
            self._handle, StreamingMessage.FromString, StreamingMessage.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @classmethod
    async def open(cls) -> Self:
        """Make one that listens."""
        server = cls()
        await server._server.start()
        return server

    def expect(self, stream: Stream) -> None:
        """Accept one connection of that stream's worker, which tells its id; any other is refused."""
        self._expected[stream.worker_id] = stream

    async def close(self) -> None:
        # The streams of workers that have ended end in a moment; one that is cancelled would log a stack trace.
        await self._server.stop(_GRACE)

    async def _handle(self, messages: AsyncIterator[StreamingMessage], context: Any) -> None:
        first = await anext(messages, None)
        stream = self._expected.pop(first.start_stream.worker_id, None) if first is not None else None
        if stream is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no worker of this id is expected")
            return
        with contextlib.suppress(grpc.RpcError, grpc.aio.UsageError):
            await stream.run(messages, context)
