"""What rotations hand on from tick to tick, and how it is kept: one JSON document a service, as a secret in Key Vault.

It holds no secret; Key Vault is where a rotation's world is, and so is its memory. A note that cannot be read (somebody
edited it, or a later release wrote it) is an empty one: rotations look at the world again, and go on from there.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared.trust.key_rotation import Kind
from shared.trust.rotation import Candidate, Failure, Memory, Reason, Update

_FORMAT = 1

# The first second that no date can tell any more: the year 10000.
_END_OF_TIME = 253_402_300_800

# How many of the last steps are kept: a rotation has about eight.
_HISTORY = 24


@dataclass(frozen=True)
class Entry:
    """A step that was taken, at a Unix time: the kind of its event, and what there is to say."""

    at: float
    event: str
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """A service's note.

    ``memory``: of the certificate's rotation. ``stopped``: why nothing goes on, as it was announced. ``warned``: of
    which certificate it was announced that it expires within how many days. ``keys``: the versions that a key rotation
    under way replaces. ``history``: the last steps, the latest last.
    """

    memory: Memory = field(default_factory=Memory)
    stopped: str = ""
    warned: tuple[str, int] | None = None
    keys: Mapping[Kind, str] | None = None
    history: tuple[Entry, ...] = ()

    def with_entry(self, entry: Entry) -> "Note":
        return replace(self, history=(*self.history, entry)[-_HISTORY:])


def write(note: Note) -> str:
    """The note as JSON."""
    return json.dumps({"format": _FORMAT, **asdict(note)}, separators=(",", ":"))


def read(text: str) -> Note:
    """Read what :func:`write` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        document = json.loads(text)
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        return _note(document)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError("the note is not of its form") from error


def _note(document: Mapping[str, Any]) -> Note:
    warned, keys = document["warned"], document["keys"]
    return Note(
        memory=_memory(document["memory"]),
        stopped=str(document["stopped"]),
        warned=None if warned is None else (str(warned[0]), int(warned[1])),
        keys=None if keys is None else {Kind(kind): str(version) for kind, version in keys.items()},
        history=tuple(Entry(_time(one["at"]), str(one["event"]), str(one["detail"])) for one in document["history"]),
    )


def _memory(document: Mapping[str, Any]) -> Memory:
    good, update = document["good"], document["update"]
    return Memory(
        good=None if good is None else _candidate(good),
        verified_at=_time(document["verified_at"]),
        update=None if update is None else _update(update),
        failed={str(name): _failure(failure) for name, failure in document["failed"].items()},
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
    )


def _failure(document: Mapping[str, Any]) -> Failure:
    return Failure(Reason(document["reason"]), str(document["message"]), _time(document["at"]), int(document["times"]))


def _time(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _END_OF_TIME:  # neither is what is no number
        raise ValueError("a time is out of range")
    return seconds
