"""Certificate rotation: from the world as it is to the one next step. Decisions alone: no I/O, no clock of its own.

A tick observes the world, asks :func:`decide` for one step, does it, remembers what must not be lost, and ends; the
next tick begins anew. So a tick may crash anywhere or run twice, and a person may change anything by hand in between:
from whatever mix of versions, pins and served certificates, the steps lead to the desired certificate being served,
verified and pinned alone, or to a stop that says why. Where D is the desired certificate and S the served one:

    no D, or S cannot be seen                  Stop
    S is not D, D is refused by the judge      Stop: nothing is touched
    S is not D, D did not pass verification    Stop: until there is another D
    S is not D, an update to D failed          Stop, until it is time to try again
    S is not D, D is not pinned                AddPin(D), beside what is pinned already
    S is not D, D was pinned just now          Wait, until every gateway must have read the pins
    S is not D, D was pinned a while ago       Send(D)
    an update is under way                     Wait; Fail when it failed or took too long
    an update is done, S is not its target     Settle: wait for its certificate; Fail when that does not come
    an update may never have been sent         Wait for its certificate too, then Forget it
    an update is done, S is its target         Verify: a handshake and a scored request
    S is D, D is not pinned                    AddPin(D)
    S is D, D was never verified               Verify(D)
    S is D, D did not pass verification        Send(the last good one), as a roll-back; Stop where there is none
    S is D, verified, others are pinned        Wait for the grace time, then DropPins
    S is D, verified, pinned alone             Nothing

A rotation: Nothing; (a new version appears) AddPin; Wait; Send; Wait; Verify; Wait; DropPins; Nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Why nothing can be done, or an update did not do."""

    NO_CERTIFICATE = "no-certificate"
    ENDPOINT_UNREACHABLE = "endpoint-unreachable"
    CERTIFICATE_REFUSED = "certificate-refused"
    UPDATE_FAILED = "update-failed"
    UPDATE_HUNG = "update-hung"
    OLD_CERTIFICATE_SERVED = "old-certificate-served"
    VERIFICATION_FAILED = "verification-failed"
    ROLLBACK_FAILED = "rollback-failed"


class Progress(StrEnum):
    """How far the control plane says that an update is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    # It was about to be sent when the tick ended, or the control plane no longer knows it.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Candidate:
    """A version of the certificate in Key Vault; ``refusal`` is the judge's, empty where it is sound."""

    version: str
    fingerprint: str
    refusal: str = ""


@dataclass(frozen=True)
class Update:
    """An update that was begun at ``begun_at``, and seen to have succeeded at ``ended_at``.

    ``operation`` is where the control plane tells of it, if it said.
    """

    target: Candidate
    begun_at: float
    operation: str = ""
    is_rollback: bool = False
    ended_at: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why a certificate is not to be tried again, or not before a while: when that was, and how many times in a row."""

    reason: Reason
    message: str = ""
    at: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Memory:
    """What ticks hand on: the last certificate that was verified and when, the update under way, what failed."""

    good: Candidate | None = None
    verified_at: float = 0.0
    update: Update | None = None
    failed: Mapping[str, Failure] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """What a tick observed of one service, all of it at the time ``now`` (seconds, as all times here).

    ``desired`` is the latest enabled version in Key Vault; ``served`` the fingerprint that the endpoint presents, None
    where it presents none; ``pins`` the fingerprints that the gateways trust, last changed at ``pins_changed_at``;
    ``has_authorities`` says that an authority is pinned too, which may cover whatever is served; ``progress`` is that
    of the remembered update, with the control plane's ``message``.
    """

    now: float
    desired: Candidate | None
    served: str | None
    pins: frozenset[str]
    pins_changed_at: float = 0.0
    progress: Progress = Progress.UNKNOWN
    message: str = ""
    memory: Memory = field(default_factory=Memory)
    has_authorities: bool = False


@dataclass(frozen=True)
class Policy:
    """How long things may take, in seconds.

    ``propagation``: until every gateway has read new pins. ``operation``: an update. ``settling``: from the end of an
    update until the endpoint presents its certificate; from its beginning where nothing is known of it. ``grace``: an
    old pin's after the new certificate was verified. ``retry``: after an update that failed; doubled each time, up to
    a day.
    """

    propagation: float
    operation: float
    settling: float
    grace: float
    retry: float = math.inf


@dataclass(frozen=True)
class Nothing:
    """All is as it should be."""


@dataclass(frozen=True)
class Wait:
    """Nothing to do before ``until``; ``why`` is for people."""

    until: float
    why: str


@dataclass(frozen=True)
class Stop:
    """A person is needed, or another certificate; ``until`` is when it is tried again without."""

    reason: Reason
    message: str = ""
    until: float | None = None


@dataclass(frozen=True)
class AddPin:
    """Let the gateways trust one certificate more."""

    target: Candidate


@dataclass(frozen=True)
class Send:
    """Have the service serve a certificate: the control plane's *update service*."""

    target: Candidate
    is_rollback: bool = False


@dataclass(frozen=True)
class Verify:
    """Prove by a handshake and a scored request that a certificate serves; then it is good, or failed."""

    target: Candidate


@dataclass(frozen=True)
class Fail:
    """Remember that a certificate is not to be tried again, and forget the update."""

    target: Candidate
    failure: Failure


@dataclass(frozen=True)
class Settle:
    """Remember that the update has ended: from now on its certificate has some time to appear."""


@dataclass(frozen=True)
class Forget:
    """Forget an update of which nothing is known and nothing came: it never arrived."""


@dataclass(frozen=True)
class DropPins:
    """Let the gateways trust one certificate alone."""

    keep: Candidate


# The longest time until an update that failed is tried again, in seconds.
_LONGEST_RETRY = 86_400.0

type Step = Nothing | Wait | Stop | AddPin | Send | Settle | Verify | Fail | Forget | DropPins


def decide(world: World, policy: Policy) -> Step:
    """The one next step; see the module's docstring."""
    if world.memory.update is not None:
        return _under_way(world, world.memory.update, policy)
    if world.desired is None:
        return Stop(Reason.NO_CERTIFICATE)
    if world.served is None:
        return Stop(Reason.ENDPOINT_UNREACHABLE)
    if world.served == world.desired.fingerprint:
        return _served(world, world.desired, policy)
    return _replace(world, world.desired, world.served, policy)


def _under_way(world: World, update: Update, policy: Policy) -> Step:
    if world.progress is Progress.FAILED:
        return failed(world, update, Reason.UPDATE_FAILED, world.message)
    if world.progress is not Progress.RUNNING and world.served == update.target.fingerprint:
        return Verify(update.target)
    if world.progress is Progress.SUCCEEDED and update.ended_at is None:
        return Settle()
    patience = policy.operation if world.progress is Progress.RUNNING else policy.settling
    until = (update.ended_at or update.begun_at) + patience
    if world.now < until:
        return Wait(until, f"the update is {world.progress}")
    return _give_up(world, update)


def _give_up(world: World, update: Update) -> Step:
    match world.progress:
        case Progress.SUCCEEDED:
            seen = "the endpoint presents no certificate" if world.served is None else "it changed nothing"
            return failed(world, update, Reason.OLD_CERTIFICATE_SERVED, f"the update succeeded, but {seen}")
        case Progress.RUNNING:
            return failed(world, update, Reason.UPDATE_HUNG, "the update did not end in time")
        case _:
            return Forget()


def failed(world: World, update: Update, reason: Reason, message: str) -> Fail:
    """The step after an update that failed; it counts the times in a row."""
    before = world.memory.failed.get(update.target.fingerprint)
    times = 1 if before is None else before.times + 1
    reason = Reason.ROLLBACK_FAILED if update.is_rollback else reason
    return Fail(update.target, Failure(reason, message, world.now, times))


def _again_at(failure: Failure, policy: Policy) -> float | None:
    """When what failed is tried again; None where that takes a person, or another certificate."""
    if failure.reason is Reason.VERIFICATION_FAILED or policy.retry == math.inf:
        return None
    return failure.at + min(policy.retry * 2.0 ** min(failure.times - 1, 32), _LONGEST_RETRY)


def _is_due(world: World, failure: Failure, policy: Policy) -> bool:
    again_at = _again_at(failure, policy)
    return again_at is not None and world.now >= again_at


def _served(world: World, desired: Candidate, policy: Policy) -> Step:
    memory = world.memory
    failure = memory.failed.get(desired.fingerprint)
    # One whose update only seemed to fail is served after all: it may be as good as any.
    if failure is not None and failure.reason is Reason.VERIFICATION_FAILED:
        return _roll_back(world, desired, failure, policy)
    if desired.fingerprint not in world.pins:
        return AddPin(desired)
    if memory.good is None or memory.good.fingerprint != desired.fingerprint:
        return Verify(desired)
    if world.pins != {desired.fingerprint}:
        until = memory.verified_at + policy.grace
        return DropPins(desired) if world.now >= until else Wait(until, "the old pins' grace time")
    return Stop(Reason.CERTIFICATE_REFUSED, desired.refusal) if desired.refusal else Nothing()


def _roll_back(world: World, desired: Candidate, failure: Failure, policy: Policy) -> Step:
    good = world.memory.good
    if good is None or good.fingerprint == desired.fingerprint:
        return Stop(failure.reason, failure.message)
    before = world.memory.failed.get(good.fingerprint)
    if before is not None and not _is_due(world, before, policy):
        return Stop(before.reason, before.message, _again_at(before, policy))
    if good.fingerprint not in world.pins:
        return AddPin(good)
    return Send(good, is_rollback=True)


def _replace(world: World, desired: Candidate, served: str, policy: Policy) -> Step:
    failure = world.memory.failed.get(desired.fingerprint)
    if failure is not None and not _is_due(world, failure, policy):
        # Where the way back failed too, that is the worse news.
        of_served = world.memory.failed.get(served)
        if of_served is not None and of_served.reason is Reason.ROLLBACK_FAILED:
            return Stop(of_served.reason, of_served.message)
        return Stop(failure.reason, failure.message, _again_at(failure, policy))
    if desired.refusal:
        return Stop(Reason.CERTIFICATE_REFUSED, desired.refusal)
    if desired.fingerprint not in world.pins:
        return AddPin(desired)
    until = world.pins_changed_at + policy.propagation
    # A served certificate that no gateway trusts is no reason to wait: nothing works until it is replaced.
    if (served in world.pins or world.has_authorities) and world.now < until:
        return Wait(until, "every gateway must have read the new pin")
    return Send(desired)
