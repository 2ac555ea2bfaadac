"""The host's gRPC server for worker processes."""

import grpc
import pytest

from devstack.functions_worker.function_rpc_pb2 import StartStream, StreamingMessage
from devstack.host.remote.stream import Stream, StreamEnded, StreamServer

METHOD = "/AzureFunctionsRpcMessages.FunctionRpc/EventStream"


async def test_a_program_that_the_host_did_not_start_is_refused_and_an_ended_worker_answers_nothing() -> None:
    server, stream = await StreamServer.open(), Stream("expected", lambda _: None)
    server.expect(stream)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        open_stream: grpc.aio.StreamStreamMultiCallable[StreamingMessage, StreamingMessage] = channel.stream_stream(
            METHOD, StreamingMessage.SerializeToString, StreamingMessage.FromString
        )
        stranger = open_stream(iter([StreamingMessage(start_stream=StartStream(worker_id="other"))]))
        with pytest.raises(grpc.aio.AioRpcError, match="no worker of this id is expected"):
            await stranger.read()
    await server.close()

    stream.end("exit code 1")
    with pytest.raises(StreamEnded, match="exit code 1"):
        await stream.ask("anything")
