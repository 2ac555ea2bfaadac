"""Certificate rotation: from the observed state to the one next step. Decisions alone: no I/O, no clock of its own.

A run observes the state, asks :func:`decide` for one step, takes it, persists what must not be lost, and ends; the next
run starts from a new observation. So a run may crash anywhere or run twice, and a person may change anything by hand in
between: from whatever mix of versions, pins and served certificates, the steps lead to the desired certificate being
served, verified and the only pin, or to a stop that names its reason. Where D is the desired certificate and S the
served one:

    no D, or S cannot be observed              Stop
    S is not D, D is not valid for the service Stop: nothing is changed
    S is not D, D did not pass verification    Stop: until there is another D
    S is not D, an update to D failed          Stop, until it is retried
    S is not D, D is not pinned                AddPin(D), beside the existing pins
    S is not D, D was pinned recently          Wait, until every gateway must have read the pins
    S is not D, D was pinned before that       Send(D)
    an update is in progress                   Wait; Fail when it failed or took too long
    an update is done, S is not its target     Settle: wait for its certificate; Fail when that does not appear
    an update may never have been sent         Wait for its certificate too, then Forget it
    an update is done, S is its target         Verify: a handshake and a scored request
    S is D, D is not pinned                    AddPin(D)
    S is D, D was never verified               Verify(D)
    S is D, D did not pass verification        Send(the last good one), as a roll-back; Stop where there is none
    S is D, verified, others are pinned        Wait for the grace time, then DropPins
    S is D, verified, the only pin             Nothing

A rotation: Nothing; (a new version appears) AddPin; Wait; Send; Wait; Verify; Wait; DropPins; Nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.backoff import backoff


class Reason(StrEnum):
    """Why nothing can be done, or an update did not succeed."""

    NO_CERTIFICATE = "no-certificate"
    ENDPOINT_UNREACHABLE = "endpoint-unreachable"
    CERTIFICATE_REFUSED = "certificate-refused"
    UPDATE_FAILED = "update-failed"
    UPDATE_HUNG = "update-hung"
    OLD_CERTIFICATE_SERVED = "old-certificate-served"
    VERIFICATION_FAILED = "verification-failed"
    ROLLBACK_FAILED = "rollback-failed"


class Progress(StrEnum):
    """The progress of an update, as the control plane reports it."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    # It was about to be sent when the run ended, or the control plane no longer knows it.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Candidate:
    """A version of the certificate in Key Vault; ``refusal`` is why it is not valid, empty where it is."""

    version: str
    fingerprint: str
    refusal: str = ""


@dataclass(frozen=True)
class Update:
    """An update that was started at ``begun_at``, and observed to have succeeded at ``ended_at``.

    ``operation`` is its path at the control plane, where that is known.
    """

    target: Candidate
    begun_at: float
    operation: str = ""
    is_rollback: bool = False
    ended_at: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why a certificate is not retried, or not yet: when it failed, and how many times in a row."""

    reason: Reason
    message: str = ""
    at: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Memory:
    """What runs persist: the last certificate that was verified and when, the update in progress, what failed."""

    good: Candidate | None = None
    verified_at: float = 0.0
    update: Update | None = None
    failed: Mapping[str, Failure] = field(default_factory=dict)


@dataclass(frozen=True)
class ObservedState:
    """What a run observed of one service, all of it at the time ``now`` (seconds, as all times here).

    ``desired`` is the latest enabled version in Key Vault; ``served`` the fingerprint that the endpoint presents, None
    where it presents none; ``pins`` the fingerprints that the gateways trust, last changed at ``pins_changed_at``;
    ``has_authorities``: an authority is pinned too, which may have issued whatever is served; ``progress`` is that of
    the persisted update, with the control plane's ``message``.
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
    """Durations in seconds.

    ``propagation``: until every gateway has read new pins. ``operation``: an update. ``settling``: from the end of an
    update until the endpoint presents its certificate; from its start where nothing is known of it. ``grace``: how long
    an old pin stays after the new certificate was verified. ``retry``: after an update that failed; doubled each time,
    up to a day.
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
    """A person is needed, or another certificate; ``until`` is when it is retried without."""

    reason: Reason
    message: str = ""
    until: float | None = None


@dataclass(frozen=True)
class AddPin:
    """Make the gateways trust one more certificate."""

    target: Candidate


@dataclass(frozen=True)
class Send:
    """Have the service serve a certificate: the control plane's *update service*."""

    target: Candidate
    is_rollback: bool = False


@dataclass(frozen=True)
class Verify:
    """Prove by a handshake and a scored request that a certificate works; then it is good, or failed."""

    target: Candidate


@dataclass(frozen=True)
class Fail:
    """Persist that a certificate failed, and forget the update."""

    target: Candidate
    failure: Failure


@dataclass(frozen=True)
class Settle:
    """Persist that the update has ended: from now on its certificate has some time to appear."""


@dataclass(frozen=True)
class Forget:
    """Forget an update of which nothing is known and no effect was observed: it never arrived."""


@dataclass(frozen=True)
class DropPins:
    """Make the gateways trust one certificate alone."""

    keep: Candidate


# The longest time until a failed update is retried, in seconds.
_LONGEST_RETRY = 86_400.0

type Step = Nothing | Wait | Stop | AddPin | Send | Settle | Verify | Fail | Forget | DropPins


def decide(state: ObservedState, policy: Policy) -> Step:
    """The one next step; see the module's docstring."""
    if state.memory.update is not None:
        return _in_progress(state, state.memory.update, policy)
    if state.desired is None:
        return Stop(Reason.NO_CERTIFICATE)
    if state.served is None:
        return Stop(Reason.ENDPOINT_UNREACHABLE)
    if state.served == state.desired.fingerprint:
        return _served(state, state.desired, policy)
    return _replace(state, state.desired, state.served, policy)


def _in_progress(state: ObservedState, update: Update, policy: Policy) -> Step:
    if state.progress is Progress.FAILED:
        return failed(state, update, Reason.UPDATE_FAILED, state.message)
    if state.progress is not Progress.RUNNING and state.served == update.target.fingerprint:
        return Verify(update.target)
    if state.progress is Progress.SUCCEEDED and update.ended_at is None:
        return Settle()
    patience = policy.operation if state.progress is Progress.RUNNING else policy.settling
    until = (update.ended_at or update.begun_at) + patience
    if state.now < until:
        return Wait(until, f"the update is {state.progress}")
    return _time_is_over(state, update)


def _time_is_over(state: ObservedState, update: Update) -> Step:
    match state.progress:
        case Progress.SUCCEEDED:
            effect = "the endpoint presents no certificate" if state.served is None else "it changed nothing"
            return failed(state, update, Reason.OLD_CERTIFICATE_SERVED, f"the update succeeded, but {effect}")
        case Progress.RUNNING:
            return failed(state, update, Reason.UPDATE_HUNG, "the update did not end in time")
        case _:
            return Forget()


def failed(state: ObservedState, update: Update, reason: Reason, message: str) -> Fail:
    """The step after an update that failed; it counts the times in a row."""
    before = state.memory.failed.get(update.target.fingerprint)
    times = 1 if before is None else before.times + 1
    reason = Reason.ROLLBACK_FAILED if update.is_rollback else reason
    return Fail(update.target, Failure(reason, message, state.now, times))


def _retry_at(failure: Failure, policy: Policy) -> float | None:
    """When what failed is retried; None where that takes a person, or another certificate."""
    if failure.reason is Reason.VERIFICATION_FAILED or policy.retry == math.inf:
        return None
    return failure.at + backoff(failure.times, policy.retry, _LONGEST_RETRY)


def _is_due(state: ObservedState, failure: Failure, policy: Policy) -> bool:
    retry_at = _retry_at(failure, policy)
    return retry_at is not None and state.now >= retry_at


def _served(state: ObservedState, desired: Candidate, policy: Policy) -> Step:
    memory = state.memory
    failure = memory.failed.get(desired.fingerprint)
    # One whose update only seemed to fail is served after all: it may be as good as any.
    if failure is not None and failure.reason is Reason.VERIFICATION_FAILED:
        return _roll_back(state, desired, failure, policy)
    if desired.fingerprint not in state.pins:
        return AddPin(desired)
    if memory.good is None or memory.good.fingerprint != desired.fingerprint:
        return Verify(desired)
    if state.pins != {desired.fingerprint}:
        until = memory.verified_at + policy.grace
        return DropPins(desired) if state.now >= until else Wait(until, "the old pins' grace time")
    return Stop(Reason.CERTIFICATE_REFUSED, desired.refusal) if desired.refusal else Nothing()


def _roll_back(state: ObservedState, desired: Candidate, failure: Failure, policy: Policy) -> Step:
    good = state.memory.good
    if good is None or good.fingerprint == desired.fingerprint:
        return Stop(failure.reason, failure.message)
    before = state.memory.failed.get(good.fingerprint)
    if before is not None and not _is_due(state, before, policy):
        return Stop(before.reason, before.message, _retry_at(before, policy))
    if good.fingerprint not in state.pins:
        return AddPin(good)
    return Send(good, is_rollback=True)


def _replace(state: ObservedState, desired: Candidate, served: str, policy: Policy) -> Step:
    failure = state.memory.failed.get(desired.fingerprint)
    if failure is not None and not _is_due(state, failure, policy):
        # Where the roll-back failed too, that is the worse failure.
        of_served = state.memory.failed.get(served)
        if of_served is not None and of_served.reason is Reason.ROLLBACK_FAILED:
            return Stop(of_served.reason, of_served.message)
        return Stop(failure.reason, failure.message, _retry_at(failure, policy))
    if desired.refusal:
        return Stop(Reason.CERTIFICATE_REFUSED, desired.refusal)
    if desired.fingerprint not in state.pins:
        return AddPin(desired)
    until = state.pins_changed_at + policy.propagation
    # A served certificate that no gateway trusts is no reason to wait: nothing works until it is replaced.
    if (served in state.pins or state.has_authorities) and state.now < until:
        return Wait(until, "every gateway must have read the new pin")
    return Send(desired)
