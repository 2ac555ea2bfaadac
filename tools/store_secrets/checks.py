"""Checks a service with its secrets, by the gateway's own parts: what succeeds here succeeds there."""

import io
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from PIL import Image

from shared.errors import GatewayError, KeysRefused, Misconfigured
from shared.gateway import Gateway, Service
from shared.quoting import printable
from shared.scoring.types import Prediction, Ranking, Upload
from shared.settings import Settings, Tls
from shared.telemetry import RequestContext
from shared.upstream.discovery import Discovery
from tools.store_secrets.vault import Secrets

# Seconds for one step: a connection over a long distance, and a model that is scored with for the first time.
_SECONDS = 20.0

_SHOWN = Ranking(top=3)


class Failed(Exception):
    """A check failed; ``step`` is which."""

    def __init__(self, step: str, cause: GatewayError) -> None:
        super().__init__(step)
        self.step = step
        self.cause = cause


async def check(settings: Settings, secrets: Secrets | None, image: bytes | None) -> AsyncIterator[tuple[str, str]]:
    """Each step with its result, in words.

    Raises:
        Failed: a step failed; those after it would, too.
    """
    keys = (secrets.keys() if secrets else []) or [""]
    for number, key in enumerate(keys):
        read = None if secrets is None else secrets.with_key(key) if key else secrets.read
        gateway = Gateway(settings, read)
        try:
            async with aclosing(_steps(gateway, key, image, is_first=not number)) as steps:
                async for step in steps:
                    yield step
        finally:
            await gateway.close()


async def _steps(gateway: Gateway, key: str, image: bytes | None, *, is_first: bool) -> AsyncGenerator[tuple[str, str]]:
    service = gateway.member(gateway.settings.default_service)
    last = f"key {key}" if key else "score"
    if is_first:
        status = await _step("connection", last, lambda: service.upstream.reported_status(_context()))
        trust = "trusted" if service.settings.tls is Tls.REQUIRED else "not encrypted"
        yield "connection", f"{trust}; the service's status is {printable(status, 40)}"
        yield "model", await _step("model", last, lambda: _model(service))
    uploads = [Upload("image", image or _grey())]
    [scored] = await _step(last, last, lambda: service.scorer.score(uploads, _SHOWN, _context()))
    yield last, f"accepted; {_best(scored)}"


async def _step[T](name: str, of_key: str, call: Callable[[], Awaitable[T]]) -> T:
    """The result of a call; a refused key fails the step ``of_key``, whichever call was the first to send it."""
    try:
        return await call()
    except GatewayError as cause:
        raise Failed(of_key if isinstance(cause, KeysRefused) else name, cause) from cause
    except TimeoutError:
        raise Failed(name, _context().deadline_exceeded()) from None


async def _model(service: Service) -> str:
    """What the model takes; where the settings say it, whether the service's metadata agree is a note."""
    upstream = service.upstream
    discovery = upstream.discovery or Discovery(service.settings, upstream.client, upstream.codec)
    try:
        codec = await discovery.codec(_context())
    except Misconfigured as contradiction:
        if upstream.discovery is not None:
            raise
        # Some servers report less than they take: whether it scores decides.
        return f"the service's metadata contradict the settings: {contradiction.detail}"
    return str(codec.model)


def _context() -> RequestContext:
    return RequestContext("check", time.monotonic() + _SECONDS)


def _best(scored: Prediction) -> str:
    return ", ".join(f"{printable(one.label, 60)} {one.score:.2%}" for one in scored.labels)


def _grey() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 256), (127, 127, 127)).save(file, "JPEG")
    return file.getvalue()
