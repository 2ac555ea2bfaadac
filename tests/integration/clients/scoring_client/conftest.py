"""A scripted server in place of the gateway, and a folder of images."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients.gateway_server import Server
from tests.support.clients.photos import photos

__all__ = ["photos"]  # a fixture


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server at SCORING_URL, without a key and proxies."""
    server = Server()
    for name in ("SCORING_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SCORING_URL", server.url)
    yield server
    server.stop()


@pytest.fixture
def image(tmp_path: Path) -> str:
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"a cat")
    return str(file)
