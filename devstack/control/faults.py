"""Fault injection: the control plane refuses, fails, hangs, loses responses or reports false success.

``PUT /_devstack/faults`` starts faults (one object, or a list) and ``DELETE`` ends them; the route is not part of the
API and needs the same bearer token. Example: the next two updates of one service fail, and one request is
throttled::

    [{"mode": "fail", "count": 2, "services": ["imagenet"]}, {"mode": "throttle", "retry_after": 2, "count": 1}]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from devstack.rest import faults

CALLS = (
    *("discovery", "list", "get", "create", "update", "delete", "keys", "regenerate", "operation"),
    *("list_models", "register_model", "delete_model"),
)
"""The calls that a fault can be limited to."""


class Mode(StrEnum):
    """The effect of a fault on a request, or on the operation that it starts."""

    UNAUTHORIZED = "unauthorized"
    """401."""
    THROTTLE = "throttle"
    """429 with ``Retry-After``."""
    ERROR = "error"
    """500."""
    UNAVAILABLE = "unavailable"
    """503, with ``Retry-After`` if ``retry_after`` is set."""
    LOST = "lost"
    """504, although the request was executed."""
    FAIL = "fail"
    """The operation ends as Failed, with ``message``; the service stays unchanged."""
    HANG = "hang"
    """The operation stays Running; a newer one on the service, or the end of the fault, cancels it."""
    STALE = "stale"
    """The operation ends as Succeeded, but the old certificate is still served."""
    SLOW = "slow"
    """The operation takes ``delay`` seconds."""

    @property
    def affects_operations(self) -> bool:
        """Whether it affects the operation instead of the request."""
        return self in (Mode.FAIL, Mode.HANG, Mode.STALE, Mode.SLOW)


@dataclass(frozen=True, kw_only=True)
class Fault(faults.Fault):
    """One fault, for the named ``calls`` and ``services`` (names or ids) only.

    Without ``calls``, a fault of operations hits updates and one of requests hits all; without ``services``, it hits
    every service and also calls that concern none.
    """

    mode: Mode
    calls: tuple[str, ...] | None = None
    services: tuple[str, ...] | None = None
    message: str = "The deployment to the accelerator failed."

    def __post_init__(self) -> None:
        super().__post_init__()
        if not set(self.calls or ()) <= set(CALLS):
            raise ValueError(f"calls must be of {list(CALLS)}")

    def hits(self, call: str, subjects: Sequence[str], *, operations: bool) -> bool:
        """Whether it hits a call for the service with the name and id in ``subjects`` (empty: for none).

        With ``operations``, whether it hits the operation that the call starts.
        """
        if self.mode.affects_operations is not operations:
            return False
        if self.services is not None and not set(self.services) & set(subjects):
            return False
        if self.calls is None:
            return call == "update" if operations else True
        return call in self.calls
