"""A rotation's state as JSON, for people and for dashboards. No secret is part of it."""

import datetime as dt
from typing import Any

from cryptography import x509

from shared.trust.certificates import fingerprint
from shared.trust.events import Event
from shared.trust.judge import names
from shared.trust.key_rotation import Finish, KeysSettled, KeyStep, KeyWait, Regenerate, Store
from shared.trust.observer import Keys, View
from shared.trust.rotation import (
    AddPin,
    DropPins,
    Fail,
    Forget,
    Nothing,
    Send,
    Settle,
    Step,
    Stop,
    Verify,
    Wait,
)

type Json = dict[str, Any]


def describe(view: View) -> Json:
    """One service's certificates and keys, where their rotation is, and what comes next."""
    memory = view.world.memory
    return {
        "phase": phase(view),
        "next_step": _step(view.step),
        "desired": _desired(view),
        "served": None if view.served is None else certificate(view.served),
        "pinned": [certificate(one) for one in (*view.pinned.leaves, *view.pinned.authorities)],
        "verified": None
        if memory.good is None
        else {"fingerprint": memory.good.fingerprint, "at": date(memory.verified_at) if memory.verified_at else None},
        "failed": [
            {"fingerprint": name, "reason": failure.reason, "detail": failure.message, "at": date(failure.at)}
            for name, failure in memory.failed.items()
        ],
        "keys": None if view.keys is None else _keys(view.keys, under_way=view.note.keys is not None),
        "last_error": view.note.stopped or (view.problem.detail if view.problem else None),
        "history": [{"at": date(one.at), "event": one.event, "detail": one.detail} for one in view.note.history],
    }


def phase(view: View) -> str:  # noqa: PLR0911 - one line a phase
    """Where a rotation is, in a word; docs/rotation.md says what each means."""
    match view.step:
        case Nothing():
            return "steady"
        case Stop():
            return "stopped"
        case AddPin():
            return "pinning"
        case Wait() if view.world.memory.update is None:
            served, desired = view.world.served, view.world.desired
            return "grace" if desired and served == desired.fingerprint else "propagating"
        case Verify():
            return "verifying"
        case DropPins():
            return "dropping-pins"
        case _:
            update = view.world.memory.update
            is_rollback = view.step.is_rollback if isinstance(view.step, Send) else bool(update and update.is_rollback)
            return "rolling-back" if is_rollback else "updating"


def certificate(found: x509.Certificate) -> Json:
    """What there is to know of a certificate."""
    return {
        "fingerprint": fingerprint(found),
        "names": names(found),
        "not_before": found.not_valid_before_utc.isoformat(),
        "not_after": found.not_valid_after_utc.isoformat(),
    }


def event(happened: Event) -> Json:
    """An event of a tick."""
    return {"at": date(happened.at), "event": happened.kind, "detail": happened.detail, **happened.data}


def date(seconds: float) -> str:
    """A Unix time as RFC 3339 has it, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def _desired(view: View) -> Json | None:
    candidate = view.world.desired
    if candidate is None:
        return None
    about = {} if view.desired is None else certificate(view.desired.leaf)
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
        case Verify(target):
            return {"action": "verify", "fingerprint": target.fingerprint}
        case DropPins(keep):
            return {"action": "drop-old-pins", "fingerprint": keep.fingerprint}
        case Fail(target, failure):
            return {"action": "note-failure", "fingerprint": target.fingerprint, "reason": failure.reason}
        case Settle() | Forget():
            return {"action": "note-update"}


def _keys(keys: Keys, *, under_way: bool) -> Json:
    held = {
        str(kind): {"version": secret.version, "stored_at": date(secret.created)} for kind, secret in keys.held.items()
    }
    return {**held, "rotation": "under-way" if under_way else "idle", "next_step": _key_step(keys.step)}


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
