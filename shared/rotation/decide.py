"""Certificate rotation: from the observed state to the one next step. Decisions alone: no I/O, no clock of its own.

A run observes the state, asks :func:`decide` for one step, takes it, persists what must not be lost, and ends; the next
run starts from a new observation. So a run may crash anywhere or run twice, and a person may change anything by hand in
between: from whatever mix of versions, pins and served certificates, the steps lead to the desired certificate being
served, verified and the only pin, or to a stop that names its reason. docs/rotation-states.md has the table of states,
which the tests compare with this module.

Only a failure of trust is a verdict on a certificate. Whatever else prevents its verification (a model that is still
loading, a vault that throttles, a refused key) is tried again, and announced once it has lasted the settling time.

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
    UPDATE_CONFLICT = "update-conflict"
    UPDATE_LOST = "update-lost"
    UPDATE_HUNG = "update-hung"
    OLD_CERTIFICATE_SERVED = "old-certificate-served"
    NOTHING_SERVED = "nothing-served"
    NOT_VERIFIED = "not-verified"
    VERIFICATION_FAILED = "verification-failed"
    ROLLBACK_REFUSED = "rollback-refused"
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
    """A version of the certificate in Key Vault; ``refusal`` is why it must not be served, empty where it may."""

    version: str
    fingerprint: str
    refusal: str = ""


@dataclass(frozen=True)
class Update:
    """An update that was started at ``begun_at``, and observed to have succeeded at ``ended_at``.

    ``operation`` is its path at the control plane, where that is known; ``trouble`` is why its outcome is not known.
    """

    target: Candidate
    begun_at: float
    operation: str = ""
    is_rollback: bool = False
    ended_at: float | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a certificate is not retried, or not yet: when it failed, and how many times in a row."""

    reason: Reason
    message: str = ""
    at: float = 0.0
    times: int = 1


@dataclass(frozen=True)
class Trouble:
    """What has prevented the verification of a certificate since a time; it is no evidence about the certificate."""

    fingerprint: str
    message: str
    since: float


@dataclass(frozen=True)
class Memory:
    """What runs persist: the last certificate that was verified and when, the update in progress, what failed.

    ``trouble`` prevents a verification; ``retired`` has the pins that a verified certificate replaced, and when;
    ``offered`` is the fingerprint that was pinned last.
    """

    good: Candidate | None = None
    verified_at: float = 0.0
    update: Update | None = None
    failed: Mapping[str, Failure] = field(default_factory=dict)
    trouble: Trouble | None = None
    retired: Mapping[str, float] = field(default_factory=dict)
    offered: str = ""


@dataclass(frozen=True)
class ObservedState:
    """What a run observed of one service, all of it at the time ``now`` (seconds, as all times here).

    ``desired`` is the latest enabled version in Key Vault; ``served`` the fingerprint that the endpoint presents, None
    where it presents none; ``pins`` the fingerprints that the gateways trust, last changed at ``pins_changed_at``;
    ``has_authorities``: an authority is pinned too, which may have issued whatever is served; ``progress`` is that of
    the persisted update, with the control plane's ``message``; ``fallback`` is ``memory.good`` as it is valid now;
    ``handshake_refused``: an address accepts connections, and its TLS refuses the handshake with an alert.
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
    fallback: Candidate | None = None
    handshake_refused: bool = False


@dataclass(frozen=True)
class Policy:
    """Durations in seconds.

    ``propagation``: until every gateway has read new pins. ``operation``: an update. ``settling``: from the end of an
    update until the endpoint presents its certificate; from its start where nothing is known of it. ``grace``: how long
    an old pin stays after the new certificate was verified. ``retry``: after an update that failed; doubled each time,
    up to a day. The pauses after a lost update start with ``settling``, those after a conflict with ``conflict``.
    """

    propagation: float
    operation: float
    settling: float
    grace: float
    retry: float = math.inf
    conflict: float = 60.0


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
    """Make the gateways trust one more certificate, and no longer ``dropped``: pins that nothing serves any more.

    ``spare`` are those that may go too where the secret has no room left, the first one first.
    """

    target: Candidate
    dropped: frozenset[str] = frozenset()
    spare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Send:
    """Have the service serve a certificate: the control plane's *update service*."""

    target: Candidate
    is_rollback: bool = False


@dataclass(frozen=True)
class Verify:
    """Prove by a handshake and a scored request that a certificate works; then it is good, or failed.

    ``overdue`` is what has prevented that for the whole settling time; empty before.
    """

    target: Candidate
    overdue: str = ""


@dataclass(frozen=True)
class Fail:
    """Persist that a certificate failed, and forget the update."""

    target: Candidate
    failure: Failure


@dataclass(frozen=True)
class Settle:
    """Persist that the update has ended: from now on its certificate has some time to appear."""


@dataclass(frozen=True)
class DropPins:
    """Stop trusting the pins whose grace time is over."""

    keep: Candidate
    dropped: frozenset[str]


# The longest time until a failed update is retried, in seconds.
_LONGEST_RETRY = 86_400.0

# Failures of an update to a certificate that may have left the service without any.
_OUTAGES = frozenset({Reason.UPDATE_HUNG, Reason.NOTHING_SERVED})
# Failures after which a person is needed, or another certificate: a retry would be another outage.
_NEVER_RETRIED = frozenset({Reason.VERIFICATION_FAILED, Reason.NOTHING_SERVED})

type Step = Nothing | Wait | Stop | AddPin | Send | Settle | Verify | Fail | DropPins


def decide(state: ObservedState, policy: Policy) -> Step:
    """The one next step; see the module's docstring."""
    if state.memory.update is not None:
        return _in_progress(state, state.memory.update, policy)
    if state.desired is None:
        return Stop(Reason.NO_CERTIFICATE)
    if state.served is None:
        return _unreachable(state, state.desired, policy)
    if state.served == state.desired.fingerprint:
        return _served(state, state.desired, policy)
    return _replace(state, state.desired, state.served, policy)


def _unreachable(state: ObservedState, desired: Candidate, policy: Policy) -> Step:
    failure = state.memory.failed.get(desired.fingerprint)
    # Since the update nothing is served, and nothing was verified: the update may be the cause.
    if failure is not None and failure.reason in _OUTAGES and failure.at > state.memory.verified_at:
        return _roll_back(state, desired, failure, policy)
    return Stop(Reason.ENDPOINT_UNREACHABLE)


def _in_progress(state: ObservedState, update: Update, policy: Policy) -> Step:
    if state.progress is Progress.FAILED:
        return failed(state, update, Reason.UPDATE_FAILED, state.message)
    if state.progress is not Progress.RUNNING and state.served == update.target.fingerprint:
        return _verify(state, update.target, policy)
    if state.progress is Progress.SUCCEEDED and update.ended_at is None:
        return Settle()
    if state.progress is Progress.SUCCEEDED and state.served is None and state.handshake_refused:
        return failed(state, update, Reason.VERIFICATION_FAILED, "the service refuses every TLS handshake since then")
    patience = policy.operation if state.progress is Progress.RUNNING else policy.settling
    until = (update.ended_at or update.begun_at) + patience
    if state.now < until:
        return Wait(until, f"the update is {state.progress}")
    return _time_is_over(state, update)


def _time_is_over(state: ObservedState, update: Update) -> Fail:
    match state.progress:
        case Progress.SUCCEEDED if state.served is None:
            what = "the update succeeded, but the endpoint presents no certificate"
            return failed(state, update, Reason.NOTHING_SERVED, what)
        case Progress.SUCCEEDED:
            what = "the update succeeded, but it changed nothing"
            return failed(state, update, Reason.OLD_CERTIFICATE_SERVED, what)
        case Progress.RUNNING:
            return failed(state, update, Reason.UPDATE_HUNG, "the update did not end in time")
        case _:
            what = update.trouble or "the run that sent it ended before its outcome was known"
            return failed(state, update, Reason.UPDATE_LOST, f"it had no effect, and nothing is known of it: {what}")


def failed(state: ObservedState, update: Update, reason: Reason, message: str) -> Fail:
    """The step after an update that failed; it counts the times in a row."""
    before = state.memory.failed.get(update.target.fingerprint)
    times = 1 if before is None else before.times + 1
    if update.is_rollback and reason is not Reason.UPDATE_LOST:
        reason = Reason.ROLLBACK_FAILED
    return Fail(update.target, Failure(reason, message, state.now, times))


def _retry_at(failure: Failure, policy: Policy) -> float | None:
    """When what failed is retried; None where that takes a person, or another certificate."""
    if failure.reason in _NEVER_RETRIED or policy.retry == math.inf:
        return None
    match failure.reason:
        case Reason.UPDATE_LOST:
            # The settling time has passed since it was sent: the first may be sent again at once.
            pause = backoff(failure.times - 1, policy.settling, _LONGEST_RETRY) if failure.times > 1 else 0.0
        case Reason.UPDATE_CONFLICT:
            pause = backoff(failure.times, min(policy.conflict, policy.retry), policy.retry)
        case _:
            pause = backoff(failure.times, policy.retry, _LONGEST_RETRY)
    return failure.at + pause


def _is_due(state: ObservedState, failure: Failure, policy: Policy) -> bool:
    retry_at = _retry_at(failure, policy)
    return retry_at is not None and state.now >= retry_at


def _verify(state: ObservedState, target: Candidate, policy: Policy) -> Verify:
    trouble = state.memory.trouble
    if trouble is None or trouble.fingerprint != target.fingerprint or state.now < trouble.since + policy.settling:
        return Verify(target)
    return Verify(target, trouble.message)


def _add_pin(state: ObservedState, target: Candidate, policy: Policy) -> AddPin:
    """What is served, may be served again, or was pinned by a person stays in any case."""
    memory = state.memory
    needed = {state.served, target.fingerprint, *(one.fingerprint for one in (state.desired, memory.good) if one)}
    retired = {one: at for one, at in memory.retired.items() if one in state.pins and one not in needed}
    dropped = {one for one, at in retired.items() if state.now >= at + policy.grace}
    # Pinned for a certificate that was never sent, because a newer one replaced it.
    if memory.offered in state.pins - needed and memory.offered not in {*memory.failed, *memory.retired}:
        dropped.add(memory.offered)
    spare = sorted((one for one in retired if one not in dropped), key=lambda one: (retired[one], one))
    return AddPin(target, frozenset(dropped), tuple(spare))


def _served(state: ObservedState, desired: Candidate, policy: Policy) -> Step:
    memory = state.memory
    failure = memory.failed.get(desired.fingerprint)
    # One whose update only seemed to fail is served after all: it may be as good as any.
    if failure is not None and failure.reason is Reason.VERIFICATION_FAILED:
        return _roll_back(state, desired, failure, policy)
    if desired.fingerprint not in state.pins:
        return _add_pin(state, desired, policy)
    if memory.good is None or memory.good.fingerprint != desired.fingerprint:
        return _verify(state, desired, policy)
    ends = {one: memory.retired.get(one, memory.verified_at) + policy.grace for one in state.pins}
    del ends[desired.fingerprint]
    if over := frozenset(one for one, until in ends.items() if state.now >= until):
        return DropPins(desired, over)
    if ends:
        return Wait(min(ends.values()), "the old pins' grace time")
    return Stop(Reason.CERTIFICATE_REFUSED, desired.refusal) if desired.refusal else Nothing()


def _roll_back(state: ObservedState, desired: Candidate, failure: Failure, policy: Policy) -> Step:
    good = state.fallback
    if good is None or good.fingerprint == desired.fingerprint:
        return Stop(failure.reason, failure.message)
    before = state.memory.failed.get(good.fingerprint)
    if before is not None and not _is_due(state, before, policy):
        return Stop(before.reason, before.message, _retry_at(before, policy))
    if good.refusal:
        # Nothing better than what is served: it stays.
        return Stop(Reason.ROLLBACK_REFUSED, f"{failure.message}; and to the last good certificate: {good.refusal}")
    if good.fingerprint not in state.pins:
        return _add_pin(state, good, policy)
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
        return _add_pin(state, desired, policy)
    until = state.pins_changed_at + policy.propagation
    # A served certificate that no gateway trusts is no reason to wait: nothing works until it is replaced.
    if (served in state.pins or state.has_authorities) and state.now < until:
        return Wait(until, "every gateway must have read the new pin")
    return Send(desired)
