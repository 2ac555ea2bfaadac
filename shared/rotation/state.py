"""The persisted state of a rotation: one JSON document a service, as a secret in Key Vault.

It contains no secret; the state is in Key Vault because all else that a rotation observes is. A state that cannot be
read (somebody edited it, or a later release wrote it) counts as empty: runs observe again, and continue from there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared.rotation.decide import Candidate, Failure, Memory, Reason, Trouble, Update
from shared.rotation.decide_keys import KeyKind

_FORMAT = 1

# The first second that no date can express: the year 10000.
_END_OF_TIME = 253_402_300_800

# How many of the last steps are kept: a rotation has about eight.
_HISTORY = 24


@dataclass(frozen=True)
class Entry:
    """A step that was taken, at a Unix time: the kind of its event, and its detail."""

    at: float
    event: str
    detail: str = ""


@dataclass(frozen=True)
class RotationState:
    """A service's persisted state.

    ``memory``: of the certificate's rotation. ``stopped``: the announced reason of a stop. ``warned``: the certificate
    whose expiry was announced, and within how many days. ``keys``: the versions that a key rotation in progress
    replaces. ``history``: the last steps, the latest last.
    """

    memory: Memory = field(default_factory=Memory)
    stopped: str = ""
    warned: tuple[str, int] | None = None
    keys: Mapping[KeyKind, str] | None = None
    history: tuple[Entry, ...] = ()

    def with_entry(self, entry: Entry) -> "RotationState":
        return replace(self, history=(*self.history, entry)[-_HISTORY:])


def serialize(state: RotationState) -> str:
    """The state as JSON."""
    return json.dumps({"format": _FORMAT, **asdict(state)}, separators=(",", ":"))


def parse(text: str) -> RotationState:
    """Read what :func:`serialize` returned.

    Raises:
        ValueError: it is something else.
    """
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        return _state(document)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("the state has another form") from error


def _state(document: Mapping[str, Any]) -> RotationState:
    warned, keys = document["warned"], document["keys"]
    return RotationState(
        memory=_memory(document["memory"]),
        stopped=str(document["stopped"]),
        warned=None if warned is None else (str(warned[0]), int(warned[1])),
        keys=None if keys is None else {KeyKind(kind): str(version) for kind, version in keys.items()},
        history=tuple(Entry(_time(one["at"]), str(one["event"]), str(one["detail"])) for one in document["history"]),
    )


def _memory(document: Mapping[str, Any]) -> Memory:
    good, update = document["good"], document["update"]
    return Memory(
        good=None if good is None else _candidate(good),
        verified_at=_time(document["verified_at"]),
        update=None if update is None else _update(update),
        failed={str(name): _failure(failure) for name, failure in document["failed"].items()},
        # Members that states of earlier releases lack.
        trouble=None if (trouble := document.get("trouble")) is None else _trouble(trouble),
        retired={str(name): _time(at) for name, at in document.get("retired", {}).items()},
        offered=str(document.get("offered", "")),
    )


def _candidate(document: Mapping[str, Any]) -> Candidate:
    return Candidate(str(document["version"]), str(document["fingerprint"]), str(document["refusal"]))


def _update(document: Mapping[str, Any]) -> Update:
    ended_at = document["ended_at"]
    return Update(
        target=_candidate(document["target"]),
        begun_at=_time(document["begun_at"]),
        operation=str(document["operation"]),
        is_rollback=bool(document["is_rollback"]),
        ended_at=None if ended_at is None else _time(ended_at),
        trouble=str(document.get("trouble", "")),
    )


def _trouble(document: Mapping[str, Any]) -> Trouble:
    return Trouble(str(document["fingerprint"]), str(document["message"]), _time(document["since"]))


def _failure(document: Mapping[str, Any]) -> Failure:
    return Failure(Reason(document["reason"]), str(document["message"]), _time(document["at"]), int(document["times"]))


def _time(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _END_OF_TIME:  # NaN is out of range, too
        raise ValueError("a time is out of range")
    return seconds
