"""Calls the app's functions as the worker does, with real services behind them."""

import asyncio
import inspect
import io
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from PIL import Image

from devstack.authority import Authority, Issued
from devstack.fpga import Service
from functions import health
from functions import score as scoring
from functions.http.problems import PROBLEM_TYPE
from tests.support.key_vault import LocalVault


def _picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(out, "JPEG")
    return out.getvalue()


PICTURE, OTHER_PICTURE = _picture("teal"), _picture("plum")
"""Small JPEG files, without metadata."""


@dataclass(frozen=True)
class Response:
    """An HTTP response of a function."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The slug of a problem document; empty for other responses."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        document = self.json
        assert document["status"] == self.status
        return str(document["type"]).removeprefix(PROBLEM_TYPE)


def clear_settings(variables: pytest.MonkeyPatch) -> None:
    """Remove the gateway's settings from the environment."""
    for name in list(os.environ):
        if name.startswith(("SERVICE", "KEY_VAULT", "IDENTITY_", "MAX_")):
            variables.delenv(name)


def serve(port: int, variables: pytest.MonkeyPatch, **services: str) -> None:
    """Set the settings of services without TLS, with the forms of their inputs, to a port."""
    clear_settings(variables)
    variables.setenv("SERVICES", ", ".join(services))
    for name, form in services.items():
        variables.setenv(f"SERVICE__{name.upper()}__ADDRESS", "127.0.0.1")
        variables.setenv(f"SERVICE__{name.upper()}__PORT", str(port))
        variables.setenv(f"SERVICE__{name.upper()}__TLS", "insecure-no-key-is-sent")
        variables.setenv(f"SERVICE__{name.upper()}__INPUT_FORM", form)


class App:
    """The app of one test: its settings, and a vault with the secrets of the service ``cats``."""

    def __init__(self, vault: LocalVault, authority: Authority, set_variable: Callable[[str, str], None]) -> None:
        self.vault = vault
        self.authority = authority
        self._set_variable = set_variable

    def serve(self, service: Service, issued: Issued) -> None:
        """Point the service ``cats`` of the settings at a running one, with its pin and keys in the vault."""
        self.vault.set("cats-pins", issued.certificate.decode())
        self.configure(SERVICE__CATS__PORT=str(service.port))

    def configure(self, **settings: str) -> None:
        for name, value in settings.items():
            self._set_variable(name, value)

    async def score(self, body: bytes = PICTURE, content_type: str = "image/jpeg", **headers: str) -> Response:
        """The response of ``POST /api/score``; a header's name is written with underscores."""
        return await score(body, content_type, headers={name.replace("_", "-"): headers[name] for name in headers})

    async def ready(self) -> Response:
        """The response of ``GET /api/health/ready``."""
        return await call_function(health.ready, func.HttpRequest("GET", "http://localhost/api/health/ready", body=b""))

    async def health(self) -> Response:
        """The response of ``GET /api/health/services``."""
        request = func.HttpRequest("GET", "http://localhost/api/health/services", body=b"")
        return await call_function(health.service_health, request)


async def score(
    body: bytes,
    content_type: str,
    *,
    service: str = "",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response of ``POST /api/score``, or of ``/api/services/{service}/score``."""
    function = scoring.score_with_service if service else scoring.score
    request = func.HttpRequest(
        "POST",
        "http://localhost/api/score",
        headers={"Content-Type": content_type, **(headers or {})},
        params=dict(query or {}),
        route_params={"service": service} if service else {},
        body=body,
    )
    return await call_function(function, request)


async def call_function(function: Any, request: func.HttpRequest) -> Response:
    """Call a function as the worker does, without the worker's messages."""
    user_function = function.build().get_user_function()
    context = SimpleNamespace(
        invocation_id="00000000-0000-4000-8000-000000000000",
        trace_context=SimpleNamespace(trace_parent="", trace_state=""),
    )
    arguments = {"req": request, "context": context}
    response = await user_function(**{name: arguments[name] for name in inspect.signature(user_function).parameters})
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status_code, {"content-type": response.mimetype, **headers}, response.get_body())


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5, pause: float = 0.01) -> None:
    """Wait until a condition holds, which is evaluated after each ``pause``."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(pause)
