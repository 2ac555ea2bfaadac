"""Events of a rotation, structured: for the log, for a webhook, and for the history in its status."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.telemetry import log

# Kinds of events, in the order of a rotation.
PIN_ADDED = "pin-added"
UPDATE_SENT = "update-sent"
UPDATE_ENDED = "update-ended"
UPDATE_LOST = "update-lost"
UPDATE_FAILED = "update-failed"
VERIFIED = "certificate-verified"
VERIFICATION_FAILED = "verification-failed"
ROTATED = "certificate-rotated"
ROLLED_BACK = "certificate-rolled-back"
PINS_DROPPED = "old-pins-dropped"
STOPPED = "rotation-stopped"
RESUMED = "rotation-resumed"
BLOCKED = "rotation-blocked"
UNBLOCKED = "rotation-unblocked"
EXPIRING = "certificate-expiring"
KEYS_REQUESTED = "key-rotation-requested"
KEY_REGENERATED = "key-regenerated"
KEY_STORED = "key-stored"
KEYS_ROTATED = "keys-rotated"

# The events that the webhook gets: outcomes and warnings, not steps.
ANNOUNCED = frozenset(
    {
        *(ROTATED, ROLLED_BACK, STOPPED, RESUMED, BLOCKED, UNBLOCKED, EXPIRING),
        *(UPDATE_FAILED, UPDATE_LOST, VERIFICATION_FAILED, KEYS_ROTATED),
    }
)

_LEVELS: Mapping[str, int] = {
    **dict.fromkeys((STOPPED, VERIFICATION_FAILED, UPDATE_FAILED, ROLLED_BACK), logging.ERROR),
    **dict.fromkeys((BLOCKED, EXPIRING, UPDATE_LOST), logging.WARNING),
}


@dataclass(frozen=True)
class Event:
    """Something that happened to a service at a Unix time; ``detail`` is a sentence, ``data`` for machines."""

    kind: str
    service: str
    at: float
    detail: str
    data: Mapping[str, str | float | None] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """Its level in the log, one of :mod:`logging`'s."""
        return _LEVELS.get(self.kind, logging.INFO)


type Announce = Callable[[Event], None]


def to_log(event: Event) -> None:
    """One line, whose end is JSON: for people and for queries."""
    data = {"event": event.kind, "service": event.service, **event.data}
    log.log(event.level, "rotation of %s: %s %s", event.service, event.detail, json.dumps(data, ensure_ascii=False))


class Hold:
    """Whether a stop, or its end, is to be announced: one that comes and goes by itself only once it has lasted.

    A service that flaps would otherwise have an event, and a version of the state, for each run.
    """

    # _pending, _since  what is not announced yet, and since when it has been observed without a break

    def __init__(self, transient: str) -> None:
        self._transient = transient
        self._pending = ""
        self._since: float | None = None

    def is_due(self, stopped: str, announced: str, now: float, seconds: float) -> bool:
        """Whether the reason of a stop, empty for none, is to be announced after another one."""
        if stopped == announced:
            self._since = None
            return False
        if {stopped, announced} != {"", self._transient}:
            return True
        if self._since is None or self._pending != stopped:
            self._pending, self._since = stopped, now
        return now >= self._since + seconds
