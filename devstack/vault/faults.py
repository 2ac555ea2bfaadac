"""Faults on demand: a vault that throttles, forbids, fails, hangs or is slow, for tests and demonstrations.

A fault is switched on from outside by ``PUT /_devstack/faults`` and off by ``DELETE``; that route is no part of Key
Vault's API and needs the same bearer token. Example: throttle the next three reads of one secret::

    {"mode": "throttle", "retry_after": 2, "count": 3, "secrets": ["fpga-keys"]}
"""

import asyncio
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from starlette.types import Receive

from devstack.vault.errors import BadParameter


class Mode(StrEnum):
    """What happens to a request that a fault hits."""

    THROTTLE = "throttle"
    """429 with ``Retry-After``."""
    FORBID = "forbid"
    """403, as when the access policy lacks the permission."""
    ERROR = "error"
    """500."""
    HANG = "hang"
    """No answer until the client goes away."""
    SLOW = "slow"
    """The right answer, after ``delay`` seconds."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: ``count`` requests are hit (``None``: all), of the named secrets only (``None``: of any, lists too).

    ``retry_after`` (throttle) and ``delay`` (slow) are in seconds.
    """

    mode: Mode
    retry_after: int = 1
    delay: float = 1.0
    count: int | None = None
    secrets: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Read the body of the admin route.

        Raises:
            BadParameter: a field is unknown or wrong; the message names it.
        """
        unknown = document.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise BadParameter(f"unknown fields {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        given = {name: value for name, value in document.items() if value is not None}
        try:
            mode = Mode(given.pop("mode", ""))
        except ValueError:
            raise BadParameter(f"mode must be one of {[str(mode) for mode in Mode]}") from None
        for name, value in given.items():
            _check(name, value)
        if "secrets" in given:
            given["secrets"] = tuple(secret.lower() for secret in given["secrets"])
        return cls(mode=mode, **given)

    def hits(self, secret: str | None) -> bool:
        """Whether a request for ``secret`` (``None``: for no single one) is meant."""
        return self.secrets is None or (secret is not None and secret.lower() in self.secrets)


def _check(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "retry_after" | "count":
            least = 1 if name == "count" else 0
            if not (number and isinstance(value, int) and value >= least):
                raise BadParameter(f"{name} must be a whole number, {least} or more")
        case "delay":
            if not (number and isinstance(value, int | float) and 0 <= value <= 600):
                raise BadParameter("delay must be a number of seconds, 0 to 600")
        case _:
            if not (isinstance(value, list) and all(isinstance(secret, str) for secret in value)):
                raise BadParameter("secrets must be a list of names")


class Faults:
    """The fault that is switched on, if any, and how many requests it still hits."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._left: int | None = None

    def switch(self, fault: Fault | None) -> None:
        """Replace the fault; ``None`` ends it."""
        self._fault = fault
        self._left = fault.count if fault else None

    def describe(self) -> dict[str, Any]:
        """The fault with what is left of its count, in the admin route's form; empty when there is none."""
        return {**asdict(self._fault), "count": self._left} if self._fault else {}

    def take(self, secret: str | None) -> Fault | None:
        """The fault that hits a request for ``secret``, counted; ``None`` when none does."""
        fault = self._fault
        if fault is None or not fault.hits(secret):
            return None
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._fault = None
        return fault


async def pause(receive: Receive, stopping: asyncio.Event, seconds: float | None) -> bool:
    """Wait ``seconds`` (``None``: for ever), or until the client goes away or the server stops.

    The request's body must have been read. Returns whether the time ran out, so that an answer is still wanted.
    """
    ends = {asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(stopping.wait())}
    done, waiting = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return not done


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
