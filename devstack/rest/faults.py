"""Injected faults: their shared fields, their counts, and the wait of a request."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from starlette.types import Receive

from devstack import typed_json
from devstack.rest.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that hits ``count`` times (None: always); ``retry_after`` and ``delay`` are in seconds.

    A server's own kind adds a ``mode`` and the requests that are hit.
    """

    count: int | None = None
    retry_after: int | None = None
    delay: float = 1.0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError("count must be a whole number, 1 or more")
        if self.retry_after is not None and self.retry_after < 0:
            raise ValueError("retry_after must be a whole number, 0 or more")
        if not 0 <= self.delay <= 3600:
            raise ValueError("delay must be a number of seconds, 0 to 3600")

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read a fault from the body of an admin route.

        Raises:
            BadRequest: a field is unknown or invalid; the message names it.
        """
        if not isinstance(document, dict):
            raise BadRequest('a fault is an object, as in {"mode": "error"}')
        try:
            given = {name: value for name, value in document.items() if value is not None}
            return typed_json.read(cls, given, strict=True)
        except ValueError as error:
            raise BadRequest(str(error)) from None


class Faults[F: Fault]:
    """The active faults; each counts down as it hits."""

    def __init__(self) -> None:
        self._faults: list[F] = []

    def set(self, faults: Sequence[F]) -> None:
        """Replace all faults; an empty sequence ends them."""
        self._faults = list(faults)

    def describe(self) -> list[dict[str, Any]]:
        """The faults in the form of the admin route, with the remaining counts."""
        return [asdict(fault) for fault in self._faults]

    def take(self, hits: Callable[[F], bool]) -> F | None:
        """The first fault that hits, counted down."""
        for index, fault in enumerate(self._faults):
            if hits(fault):
                if fault.count is not None:
                    remaining = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
                    self._faults[index : index + 1] = remaining
                return fault
        return None


async def pause(receive: Receive, stopping: asyncio.Event, seconds: float | None) -> bool:
    """Wait ``seconds`` (None: for ever), or until the client disconnects or the server stops.

    The request's body must have been read. Returns whether the time ran out, so that a response is still needed.
    """
    ends = {asyncio.ensure_future(_disconnect(receive)), asyncio.ensure_future(stopping.wait())}
    done, waiting = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return not done


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
