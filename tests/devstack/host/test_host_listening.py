import socket

import pytest

from devstack.host.errors import HostError
from devstack.host.listening import base_address, listen


def test_connections_send_at_once() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(HostError, match=r"cannot listen on 192\.0\.2\.1:0 .*take another --address"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://localhost:7071"),
        ("0.0.0.0", "http://0.0.0.0:7071"),  # noqa: S104 - only written down
        ("::1", "http://[::1]:7071"),
    ],
)
def test_the_address_is_written_as_people_reach_it(address: str, url: str) -> None:
    assert base_address(address, 7071) == url
