"""Calls over gRPC's core and by its public interface do the same; the core is used with tested versions alone."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest

from shared.upstream.unary import Calls, DirectCalls, PublicCalls, calls_over, is_tested

METHOD = "/a.B/C"
KINDS: dict[str, Callable[[grpc.aio.Channel], Calls]] = {
    "direct": lambda channel: DirectCalls(channel._channel),  # type: ignore[attr-defined]
    "public": PublicCalls,
}


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """To a server whose method returns the request and the metadata, waits, or fails, as the request says."""

    async def method(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if request == b"wait":
            await asyncio.sleep(60)
        if request == b"fail":
            context.set_trailing_metadata((("why", "so"),))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        metadata = dict(context.invocation_metadata() or ())
        return request + str(metadata["key"]).encode()

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(method)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as made:
        yield made
    await server.stop(None)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_has_its_request_metadata_and_deadline(channel: grpc.aio.Channel, kind: str) -> None:
    calls = KINDS[kind](channel)

    assert await calls.call(METHOD, b"hello ", 5, (("key", "value"),)) == b"hello value"
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await calls.call(METHOD, b"wait", 0.05, (("key", "value"),))
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_is_reported_in_full(channel: grpc.aio.Channel, kind: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await KINDS[kind](channel).call(METHOD, b"fail", 5, (("key", "value"),))

    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failed.value.details() == "no room"
    assert dict(failed.value.trailing_metadata() or ()) == {"why": "so"}
    assert "no room" in (failed.value.debug_error_string() or "")


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_end_with_their_channel_and_with_their_task(channel: grpc.aio.Channel, kind: str) -> None:
    calls = KINDS[kind](channel)
    stopped, waiting = (asyncio.create_task(calls.call(METHOD, b"wait", 30, (("key", "v"),))) for _ in range(2))
    await calls.call(METHOD, b"", 5, (("key", "v"),))

    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    calls.cancel()
    await channel.close()
    for call in (waiting, calls.call(METHOD, b"", 5, (("key", "v"),))):
        with pytest.raises(grpc.aio.AioRpcError, match="closed") as closed:
            await call
        assert closed.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_installed_version_is_tested(channel: grpc.aio.Channel) -> None:
    """Where this fails after an update: read how grpc.aio/_call.py calls the core, then change ``TESTED``."""
    assert isinstance(calls_over(channel), DirectCalls)


@pytest.mark.parametrize(
    ("version", "tested"), [("1.69.0", False), ("1.70.0", True), ("1.85.1", True), ("1.86.0", False), ("2.0.0", False)]
)
def test_other_versions_are_called_publicly(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, version: str, tested: bool
) -> None:
    assert is_tested(version) is tested
    monkeypatch.setattr(grpc, "__version__", version)
    assert isinstance(calls_over(channel), DirectCalls if tested else PublicCalls)
