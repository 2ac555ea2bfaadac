"""A laboratory for troubles: the app's own functions, real services behind them, and switches to break each."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from PIL import Image

from devstack.authority import Authority, Issued
from devstack.fpga import Service
from functions import health
from functions import score as scoring
from functions.answers import PROBLEM_TYPE
from tests.vaults import Vault


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(out, "JPEG")
    return out.getvalue()


PICTURE = _picture()
"""A small JPEG file."""


@dataclass(frozen=True)
class Answer:
    """What a client gets."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of a problem document; empty where it is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        document = self.json
        assert document["status"] == self.status
        return str(document["type"]).removeprefix(PROBLEM_TYPE)


class Lab:
    """One test's laboratory: settings, a vault with the secrets of ``cats``, and the app."""

    def __init__(self, vault: Vault, authority: Authority, set_variable: Callable[[str, str], None]) -> None:
        self.vault = vault
        self.authority = authority
        self._set_variable = set_variable

    def serve(self, service: Service, issued: Issued, **settings: str) -> None:
        """Point the service ``cats`` of the settings at a running one, with its pin and keys in the vault."""
        self.vault.set("cats-pins", issued.certificate.decode())
        self.configure(SERVICE__CATS__PORT=str(service.port), **settings)

    def configure(self, **settings: str) -> None:
        for name, value in settings.items():
            self._set_variable(name, value)

    async def score(self, body: bytes = PICTURE, content_type: str = "image/jpeg", **headers: str) -> Answer:
        """What ``POST /api/score`` answers; a header's name is written with underscores."""
        return await score(body, content_type, headers={name.replace("_", "-"): headers[name] for name in headers})

    async def ready(self) -> Answer:
        """What ``GET /api/health/ready`` answers."""
        return await _call(health.ready, func.HttpRequest("GET", "http://localhost/api/health/ready", body=b""))


async def score(
    body: bytes,
    content_type: str,
    *,
    service: str = "",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """What ``POST /api/score`` answers, or ``/api/services/{service}/score``."""
    function = scoring.score_with_service if service else scoring.score
    request = func.HttpRequest(
        "POST",
        "http://localhost/api/score",
        headers={"Content-Type": content_type, **(headers or {})},
        params=dict(query or {}),
        route_params={"service": service} if service else {},
        body=body,
    )
    return await _call(function, request)


async def _call(function: Any, request: func.HttpRequest) -> Answer:
    """As the worker calls it, but for the messages."""
    context = SimpleNamespace(
        invocation_id="00000000-0000-4000-8000-000000000000",
        trace_context=SimpleNamespace(trace_parent="", trace_state=""),
    )
    response = await function.build().get_user_function()(req=request, context=context)
    return Answer(
        response.status_code,
        {name.lower(): value for name, value in response.headers.items()} | {"content-type": response.mimetype},
        response.get_body(),
    )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5) -> None:
    """Wait for something to come about."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
