"""Faults on demand: a control plane that refuses, fails, hangs, loses answers or only says that it did something.

Faults are switched on from outside by ``PUT /_devstack/faults`` (one object, or a list of them) and off by ``DELETE``;
that route is no part of the API and needs the same bearer token. Example: the next two updates of one service fail, and
every request is throttled once::

    [{"mode": "fail", "count": 2, "services": ["imagenet"]}, {"mode": "throttle", "retry_after": 2, "count": 1}]
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from devstack.control.errors import BadRequest

CALLS = (
    *("discovery", "list", "get", "create", "update", "delete", "keys", "regenerate", "operation"),
    *("list_models", "register_model", "delete_model"),
)
"""What a fault can be limited to."""


class Mode(StrEnum):
    """What happens to a request, or to the operation that it starts."""

    UNAUTHORIZED = "unauthorized"
    """401."""
    THROTTLE = "throttle"
    """429 with ``Retry-After``."""
    ERROR = "error"
    """500."""
    UNAVAILABLE = "unavailable"
    """503, with ``Retry-After`` where ``retry_after`` is given."""
    LOST = "lost"
    """504, though the request was carried out."""
    FAIL = "fail"
    """The operation ends as Failed, with ``message``; the service stays as it was."""
    HANG = "hang"
    """The operation stays Running; a newer one on the service, or the end of the fault, makes it Cancelled."""
    STALE = "stale"
    """The operation ends as Succeeded, but the old certificate is still served."""
    SLOW = "slow"
    """The operation takes ``delay`` seconds."""

    @property
    def concerns_operations(self) -> bool:
        """Whether it is the operation that suffers, and not the request."""
        return self in (Mode.FAIL, Mode.HANG, Mode.STALE, Mode.SLOW)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: ``count`` hits (None: no end), for the named ``calls`` and ``services`` (names or ids) only.

    Without ``calls``, a fault of operations hits updates and one of requests hits all; without ``services``, every
    service and also calls that concern none. ``retry_after`` and ``delay`` are in seconds.
    """

    mode: Mode
    count: int | None = None
    calls: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    retry_after: int | None = None
    delay: float = 1.0
    message: str = "The deployment to the accelerator failed."

    @classmethod
    def parse(cls, document: object) -> Self:
        """Read one fault of the admin route's body.

        Raises:
            BadRequest: a field is unknown or wrong; the message names it.
        """
        if not isinstance(document, dict):
            raise BadRequest('a fault is an object, as in {"mode": "fail"}')
        unknown = document.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise BadRequest(f"unknown fields {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        given = {name: value for name, value in document.items() if value is not None}
        try:
            mode = Mode(given.pop("mode", ""))
        except ValueError:
            raise BadRequest(f"mode must be one of {[str(mode) for mode in Mode]}") from None
        for name, value in given.items():
            _check(name, value)
        lists = {name: tuple(given[name]) for name in ("calls", "services") if name in given}
        return cls(**{**given, **lists, "mode": mode})

    def hits(self, call: str, subjects: Sequence[str]) -> bool:
        """Whether a call that concerns a service known by ``subjects`` (its name and id; none) is meant."""
        if self.services is not None and not set(self.services) & set(subjects):
            return False
        if self.calls is None:
            return call == "update" if self.mode.concerns_operations else True
        return call in self.calls


def _check(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "retry_after" | "count":
            least = 1 if name == "count" else 0
            if not (number and isinstance(value, int) and value >= least):
                raise BadRequest(f"{name} must be a whole number, {least} or more")
        case "delay":
            if not (number and isinstance(value, int | float) and 0 <= value <= 3600):
                raise BadRequest("delay must be a number of seconds, 0 to 3600")
        case "message":
            if not isinstance(value, str):
                raise BadRequest("message must be text")
        case _:
            if not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
                raise BadRequest(f"{name} must be a list of names")
            if name == "calls" and not set(value) <= set(CALLS):
                raise BadRequest(f"calls must be of {list(CALLS)}")


class Faults:
    """The faults that are switched on; each counts down as it hits."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def switch(self, faults: Sequence[Fault]) -> None:
        """Replace all faults; an empty sequence ends them."""
        self._faults = list(faults)

    def describe(self) -> list[dict[str, Any]]:
        """The faults with what is left of their counts, in the admin route's form."""
        return [asdict(fault) for fault in self._faults]

    def take(self, call: str, subjects: Sequence[str], *, operations: bool) -> Fault | None:
        """The first fault that hits a call, counted; with ``operations`` the operation that the call starts."""
        for index, fault in enumerate(self._faults):
            if fault.mode.concerns_operations is operations and fault.hits(call, subjects):
                self._count_down(index, fault)
                return fault
        return None

    def _count_down(self, index: int, fault: Fault) -> None:
        if fault.count is None:
            return
        if fault.count == 1:
            del self._faults[index]
        else:
            self._faults[index] = replace(fault, count=fault.count - 1)
