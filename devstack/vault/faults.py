"""Fault injection: the vault throttles, forbids, fails, hangs or is slow.

``PUT /_devstack/faults`` starts a fault and ``DELETE`` ends it; the route is not part of Key Vault's API and needs the
same bearer token. Example: throttle the next three requests for one secret::

    {"mode": "throttle", "retry_after": 2, "count": 3, "secrets": ["fpga-keys"]}
"""

from dataclasses import dataclass
from enum import StrEnum

from devstack.rest import faults


class Mode(StrEnum):
    """The effect of a fault."""

    THROTTLE = "throttle"
    """429 with ``Retry-After``."""
    FORBID = "forbid"
    """403, as when the access policy lacks the permission."""
    ERROR = "error"
    """500."""
    HANG = "hang"
    """No response until the client disconnects."""
    SLOW = "slow"
    """The right response, after ``delay`` seconds."""


@dataclass(frozen=True, kw_only=True)
class Fault(faults.Fault):
    """One fault, for the named secrets only (None: for all, and for lists)."""

    mode: Mode
    retry_after: int | None = 1
    secrets: tuple[str, ...] | None = None

    def hits(self, secret: str | None) -> bool:
        """Whether it hits a request for ``secret`` (None: for a list)."""
        return self.secrets is None or (secret is not None and secret.lower() in map(str.lower, self.secrets))
