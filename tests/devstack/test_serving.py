"""What the servers of the local stack share, where the tests of their processes do not show it."""

import asyncio
import socket

import pytest

from devstack.serving import StartError, listen


async def test_small_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm is off on accepted connections; with it an answer in two pieces takes 40 ms."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        await writer.wait_closed()

    listener = listen(0)
    async with await asyncio.start_server(answer, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())

        assert await accepted != 0

        writer.close()
        await writer.wait_closed()


def test_a_port_is_taken_from_the_moment_it_is_bound() -> None:
    with listen(0) as first:
        port = first.getsockname()[1]

        with pytest.raises(StartError, match=f"port {port} on 127.0.0.1 is in use"):
            listen(port)


def test_a_port_of_a_server_that_just_ended_is_free() -> None:
    with listen(0) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), first.accept()[0]:
            pass  # the server's side closes first, which leaves the port in TIME_WAIT

    listen(port).close()
