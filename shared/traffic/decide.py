"""Which member of a split gets a request: decisions from weights, states, the key and the clock, without I/O.

A member's share follows its state:

    ready      -> not-ready   a check found so, or FAILURES requests in a row failed: its share goes to the others
    not-ready  -> returning   a check found it ready: FIRST_SHARE of its share, and the whole after RAMP_SECONDS
    returning  -> ready       RAMP_SECONDS later
    returning  -> not-ready   as above

Where no member is ready, the weights alone count: requests then name the cause.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

# How a share comes back: with this part of it at once, and evenly more until it is whole, in seconds.
FIRST_SHARE, RAMP_SECONDS = 0.1, 60.0
# How many requests in a row must fail, each by the service's fault, and the seconds until the next check after that.
FAILURES, FAILING_SECONDS = 5, 10.0
# Seconds between two checks of a member that is not ready.
CHECK_SECONDS = 1.0


class State(StrEnum):
    """Whether a member gets its share of the requests."""

    READY = "ready"
    RETURNING = "returning"
    NOT_READY = "not-ready"


@dataclass(slots=True)
class Member:
    """What is known of one member; all times are the clock's.

    ``why`` is why it is not ready, empty while it is; ``back_at`` when it last returned; ``check_at`` when to check
    it again; ``failures`` how many requests in a row have failed.
    """

    weight: int
    why: str = ""
    back_at: float = -math.inf
    check_at: float = 0.0
    failures: int = 0

    def state(self, now: float) -> State:
        if self.why:
            return State.NOT_READY
        return State.RETURNING if now - self.back_at < RAMP_SECONDS else State.READY

    def part(self, now: float) -> float:
        """The part of its share that it gets, from 0 to 1."""
        if self.why:
            return 0.0
        since = now - self.back_at
        return 1.0 if since >= RAMP_SECONDS else FIRST_SHARE + (1 - FIRST_SHARE) * since / RAMP_SECONDS

    def checked(self, why: str, now: float) -> bool:
        """Note a check: why it is not ready, or nothing. Whether that changes its state."""
        changed = bool(why) is not bool(self.why)
        self.why, self.check_at = why, now + CHECK_SECONDS
        if changed and not why:
            self.back_at, self.failures = now, 0
        return changed

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self, why: str, started: float, now: float) -> bool:
        """Note a request that failed by the member's fault. Whether the member is not ready since."""
        # A request from before it returned says nothing new.
        if self.why or started < self.back_at:
            return False
        self.failures += 1
        if self.failures < FAILURES:
            return False
        self.why, self.check_at = why, now + FAILING_SECONDS
        return True


def shares(members: Mapping[str, Member], now: float) -> dict[str, float]:
    """What each member gets of the requests at the moment; in all 1."""
    parts = {name: member.weight * member.part(now) for name, member in members.items()}
    total = sum(parts.values())
    if not total:
        parts = {name: float(member.weight) for name, member in members.items()}
        total = sum(parts.values())
    return {name: part / total for name, part in parts.items()}


def choose(key: bytes, by_share: Mapping[str, float]) -> str:
    """The member for a key: the same wherever it is asked, each for its share of the keys; empty where there is none.

    By weighted rendezvous hashing: where a share changes, keys move to a member whose share grows, or away from one
    whose share shrinks, and between no others. The order of the members does not count.
    """
    best, highest = "", 0.0
    for name, share in by_share.items():
        score = share / -math.log(_fraction(name, key))
        if score > highest:
            best, highest = name, score
    return best


def _fraction(name: str, key: bytes) -> float:
    """A number between 0 and 1, without both, that is evenly distributed over keys."""
    digest = blake2b(name.encode() + b"\0" + key, digest_size=8).digest()
    return ((int.from_bytes(digest) >> 12) + 0.5) / 2**52
