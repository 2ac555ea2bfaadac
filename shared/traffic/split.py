"""A split at work: it chooses the member for each request, and checks those whose readiness is in doubt.

No request is scored twice. What moves it to another member happens before it is sent: a member whose client is
connected, and whose last call was answered, gets its requests at once. Otherwise it is checked first, once for all
requests, which wait for that a moment and then go to another. Members that are not ready are checked in the background,
as long as requests arrive.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import randbytes

from shared.errors import DeadlineExceeded, GatewayBusy, GatewayError, InternalError, Overloaded, ServiceBusy
from shared.settings import SplitSettings
from shared.telemetry import RequestContext, log
from shared.traffic import decide

# Seconds for which a request waits for a member's check before it goes to another, and that it keeps for the latter.
WAIT_SECONDS, MARGIN = 1.0, 0.1

# Of the moment, or perhaps by the client's own doing: no reason to move a member's share.
_NO_FAULT = (Overloaded, GatewayBusy, ServiceBusy, DeadlineExceeded, InternalError)

type Check = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class Share:
    """A member's share of the requests at the moment, and why."""

    weight: int
    share: float
    state: decide.State
    why: str


class Split:
    """Chooses between members; belongs to one event loop.

    ``is_ready`` says whether a member is known to be ready, without asking it. ``check`` asks, and says why a member
    must not get its share, or get it back; it returns nothing where the member may.
    """

    # _checks  the checks in progress, by member

    def __init__(self, settings: SplitSettings, is_ready: Callable[[str], bool], check: Check) -> None:
        self.settings = settings
        self._is_ready = is_ready
        self._check = check
        self._members = {name: decide.Member(weight) for name, weight in settings.weights}
        self._weights = {name: float(weight) for name, weight in settings.weights}
        self._checks: dict[str, asyncio.Task[None]] = {}

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self._members)

    async def choose(self, key: str, context: RequestContext) -> str:
        """The member for a request with that key; without one, by chance."""
        data = key.encode("utf-8", "surrogatepass") or randbytes(8)  # noqa: S311 - chance, not secrecy
        passed = set[str]()
        while True:
            now = time.monotonic()
            self._check_again(now)
            by_share = decide.shares(self._members, now)
            for one in passed:
                del by_share[one]
            name = decide.choose(data, by_share)
            if not name:  # none is ready in time: the call names the cause
                return decide.choose(data, self._weights)
            # One that is not ready is chosen only where all are.
            if self._members[name].why or self._is_ready(name) or await self._becomes_ready(name, context):
                return name
            passed.add(name)

    def main(self) -> str:
        """The member with the largest share: it answers questions about the model."""
        by_share = decide.shares(self._members, time.monotonic())
        return max(by_share, key=by_share.__getitem__)

    def shares(self) -> dict[str, float]:
        """The members' shares at the moment; nothing is checked."""
        return decide.shares(self._members, time.monotonic())

    def report(self) -> dict[str, Share]:
        """The members' shares at the moment."""
        now = time.monotonic()
        self._check_again(now)
        by_share = decide.shares(self._members, now)
        return {
            name: Share(member.weight, by_share[name], member.state(now), member.why)
            for name, member in self._members.items()
        }

    def ended(self, name: str, started: float, error: GatewayError | None = None) -> None:
        """Note how a member's request ended that was given to it at ``started``."""
        member = self._members[name]
        if error is None:
            member.succeeded()
        elif not error.is_server_fault or isinstance(error, _NO_FAULT):
            pass
        elif member.failed(error.slug, started, time.monotonic()):
            self._log(name, f"is not ready: {decide.FAILURES} requests in a row failed, the last by {error.slug}")

    def close(self) -> None:
        for task in self._checks.values():
            task.cancel()

    def _check_again(self, now: float) -> None:
        """Check, in the background, the members that are not ready."""
        for name, member in self._members.items():
            if member.why and now >= member.check_at:
                self._checking(name)

    async def _becomes_ready(self, name: str, context: RequestContext) -> bool:
        task = self._checking(name)
        await asyncio.wait({task}, timeout=max(0.0, min(WAIT_SECONDS, context.remaining - MARGIN)))
        return task.done() and not self._members[name].why

    def _checking(self, name: str) -> asyncio.Task[None]:
        task = self._checks.get(name)
        if task is None:
            task = self._checks[name] = asyncio.create_task(self._checked(name))
            task.add_done_callback(lambda _: self._checks.pop(name, None))
        return task

    async def _checked(self, name: str) -> None:
        why = await self._check(name)
        if self._members[name].checked(why, time.monotonic()):
            self._log(name, f"is not ready: {why}" if why else "is ready again")

    def _log(self, name: str, what: str) -> None:
        log.warning("split %s: the service %s %s", self.settings.name, name, what)
