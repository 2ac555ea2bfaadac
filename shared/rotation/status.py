"""A rotation's state as JSON, for people and for dashboards. It contains no secret."""

import datetime as dt
from typing import Any

from cryptography import x509

from shared.credentials.pins import fingerprint
from shared.rotation.decide import (
    AddPin,
    DropPins,
    Fail,
    Nothing,
    ObservedState,
    Send,
    Settle,
    Step,
    Stop,
    Verify,
    Wait,
)
from shared.rotation.decide_keys import Finish, KeysSettled, KeyStep, KeyWait, Regenerate, Store
from shared.rotation.events import Event
from shared.rotation.observe import Keys, Observation, PinnedCertificates
from shared.rotation.presented import Presented, names, parties

type Json = dict[str, Any]

_DAY = 86_400.0

# The phases of a rotation in their order.
LINE = ("pinning", "propagating", "updating", "verifying", "grace", "dropping-pins", "steady")


def describe(observed: Observation) -> Json:
    """One service's certificates and keys, where their rotation is, and what comes next."""
    memory, now = observed.state.memory, observed.state.now
    return {
        "phase": phase(observed),
        "steps": steps(observed),
        "next_step": _step(observed.step),
        "desired": _desired(observed),
        "served": None if observed.served is None else presented(observed.served, now),
        "pinned": pins(observed.pinned, now),
        "verified": None
        if memory.good is None
        else {"fingerprint": memory.good.fingerprint, "at": date(memory.verified_at) if memory.verified_at else None},
        "failed": [
            {"fingerprint": name, "reason": failure.reason, "detail": failure.message, "at": date(failure.at)}
            for name, failure in memory.failed.items()
        ],
        "keys": None
        if observed.keys is None
        else _keys(observed.keys, in_progress=observed.persisted.keys is not None),
        "last_error": observed.persisted.stopped or (observed.problem.detail if observed.problem else None),
        "history": [
            {"at": date(one.at), "event": one.event, "detail": one.detail} for one in observed.persisted.history
        ],
    }


def phase(observed: Observation) -> str:  # noqa: PLR0911 - one line a phase
    """Where a rotation is, in a word; docs/rotation.md says what each means."""
    match observed.step:
        case Nothing():
            return "steady"
        case Stop():
            return "stopped"
        case AddPin():
            return "pinning"
        case Wait() if observed.state.memory.update is None:
            served, desired = observed.state.served, observed.state.desired
            return "grace" if desired and served == desired.fingerprint else "propagating"
        case Verify():
            return "verifying"
        case DropPins():
            return "dropping-pins"
        case _:
            update = observed.state.memory.update
            is_rollback = (
                observed.step.is_rollback if isinstance(observed.step, Send) else bool(update and update.is_rollback)
            )
            return "rolling-back" if is_rollback else "updating"


def steps(observed: Observation) -> list[Json]:
    """The phases of a rotation in their order, and which of them are done, or the current one.

    The state of the current one is the phase itself where that is none of the line: ``stopped``, ``rolling-back``.
    """
    current = phase(observed)
    is_on_line = current in LINE
    at = LINE.index(current if is_on_line else _reached(observed.state))
    here = "current" if is_on_line else current
    return [
        {"phase": name, "state": "done" if number < at else here if number == at else "ahead"}
        for number, name in enumerate(LINE)
    ]


def _reached(state: ObservedState) -> str:
    """The phase that the desired certificate has reached, by what is pinned and served."""
    desired, good = state.desired, state.memory.good
    if desired is None or desired.fingerprint not in state.pins:
        return "pinning"
    if state.served != desired.fingerprint:
        return "updating"
    if good is None or good.fingerprint != desired.fingerprint:
        return "verifying"
    return "grace" if len(state.pins) > 1 else "steady"


def certificate(found: x509.Certificate, now: float) -> Json:
    """What there is to know of a certificate."""
    subject, issuer = parties(found)
    return {
        "fingerprint": fingerprint(found),
        "subject": subject,
        "issuer": issuer,
        "names": names(found),
        **_validity(found.not_valid_before_utc, found.not_valid_after_utc, now),
    }


def pins(pinned: PinnedCertificates, now: float) -> list[Json]:
    """What gateways trust: servers' certificates, then authorities."""
    return [certificate(one, now) for one in (*pinned.leaves, *pinned.authorities)]


def presented(found: Presented, now: float) -> Json:
    """What there is to know of a certificate that was merely seen."""
    return {
        "fingerprint": found.fingerprint,
        "subject": found.subject,
        "issuer": found.issuer,
        "names": list(found.names),
        **_validity(found.not_before, found.not_after, now),
    }


def _validity(begin: dt.datetime, end: dt.datetime, now: float) -> Json:
    left = round((end.timestamp() - now) / _DAY, 2)
    return {"not_before": begin.isoformat(), "not_after": end.isoformat(), "days_left": left}


def event(happened: Event) -> Json:
    """An event of a tick."""
    return {"at": date(happened.at), "event": happened.kind, "detail": happened.detail, **happened.data}


def date(seconds: float) -> str:
    """A Unix time as RFC 3339 has it, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def _desired(observed: Observation) -> Json | None:
    candidate = observed.state.desired
    if candidate is None:
        return None
    about = {} if observed.desired is None else certificate(observed.desired.leaf, observed.state.now)
    return {"version": candidate.version, **about, "refusal": candidate.refusal or None}


def _step(step: Step) -> Json:  # noqa: PLR0911 - one line a step
    match step:
        case Nothing():
            return {"action": "nothing"}
        case Wait(until, why):
            return {"action": "wait", "until": date(until), "detail": why}
        case Stop(reason, message, until):
            again = None if until is None else date(until)
            return {"action": "stop", "reason": reason, "detail": message or None, "until": again}
        case AddPin(target):
            return {"action": "add-pin", "fingerprint": target.fingerprint}
        case Send(target, is_rollback):
            return {"action": "roll-back" if is_rollback else "update", "fingerprint": target.fingerprint}
        case Verify(target, overdue):
            return {"action": "verify", "fingerprint": target.fingerprint, "detail": overdue or None}
        case DropPins(keep):
            return {"action": "drop-old-pins", "fingerprint": keep.fingerprint}
        case Fail(target, failure):
            return {"action": "note-failure", "fingerprint": target.fingerprint, "reason": failure.reason}
        case Settle():
            return {"action": "note-update"}


def _keys(keys: Keys, *, in_progress: bool) -> Json:
    stored = {
        str(kind): {"version": secret.version, "stored_at": date(secret.created)}
        for kind, secret in keys.stored.items()
    }
    return {**stored, "rotation": "under-way" if in_progress else "idle", "next_step": _key_step(keys.step)}


def _key_step(step: KeyStep) -> Json:
    match step:
        case KeysSettled():
            return {"action": "nothing"}
        case KeyWait(until):
            return {"action": "wait", "until": date(until)}
        case Store(kind):
            return {"action": "store", "key": kind}
        case Regenerate(kind):
            return {"action": "regenerate", "key": kind}
        case Finish():
            return {"action": "finish"}
