"""Serialization and parsing of a rotation's persisted state."""

import json

import pytest

from devstack.vault.store import MAX_VALUE_BYTES
from shared.rotation.decide import Candidate, Failure, Memory, Reason, Update
from shared.rotation.decide_keys import KeyKind
from shared.rotation.state import Entry, RotationState, parse, serialize

CANDIDATE = Candidate("0123456789abcdef" * 2, "ab" * 32)
UPDATE = Update(CANDIDATE, 1_700_000_000.5, "/operations/1", is_rollback=True, ended_at=1_700_000_001.5)

STATES = {
    "empty": RotationState(),
    "a certificate verified": RotationState(Memory(good=CANDIDATE, verified_at=1_700_000_000.25)),
    "an update in progress": RotationState(Memory(update=Update(CANDIDATE, 1.5))),
    "an ended update": RotationState(Memory(good=CANDIDATE, update=UPDATE)),
    "failures": RotationState(Memory(failed={"cd" * 32: Failure(Reason.UPDATE_FAILED, 'it said "no" \u2026', 2.5, 3)})),
    "a key rotation in progress": RotationState(keys={KeyKind.PRIMARY: "1", KeyKind.SECONDARY: "2"}),
    "all other members": RotationState(
        stopped="no-certificate", warned=("ef" * 32, 7), history=(Entry(1.5, "pin-added", "why"),)
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_a_serialized_state_is_parsed_unchanged(case: str) -> None:
    assert parse(serialize(STATES[case])) == STATES[case]


def damaged(**changes: object) -> str:
    """A valid state with changed members; "(without)" removes one."""
    document = {**json.loads(serialize(STATES["an ended update"])), **changes}
    return json.dumps({name: value for name, value in document.items() if value != "(without)"})


BROKEN = {
    "empty": "",
    "not JSON": "nonsense",
    "not an object": "[]",
    "null": "null",
    "nested too deeply": "[" * 100_000,
    "no format": damaged(format="(without)"),
    "a later format": damaged(format=2),
    "no memory": damaged(memory="(without)"),
    "a memory that is a list": damaged(memory=[]),
    "a time that is a string": damaged(memory={"good": None, "verified_at": "today", "update": None, "failed": {}}),
    "an infinite time": damaged(memory={"good": None, "verified_at": 1e999, "update": None, "failed": {}}),
    "a time beyond the last date": damaged(history=[{"at": 1e15, "event": "pin-added", "detail": ""}]),
    "an unknown key": damaged(keys={"tertiary": "1"}),
    "a history that is a number": damaged(history=1),
    "an entry without its time": damaged(history=[{"event": "pin-added", "detail": ""}]),
    "a truncated warning": damaged(warned=["ef"]),
    "an infinite warning": damaged(warned=["ef", 1e999]),
    "an unknown reason": damaged(
        memory={
            "good": None,
            "verified_at": 0,
            "update": None,
            "failed": {"cd": {"reason": "unknown", "message": "", "at": 0, "times": 1}},
        }
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_invalid_state_is_a_value_error(case: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON decoder's own messages differ
        parse(BROKEN[case])


def test_the_history_has_the_last_steps_and_fits_into_a_secret() -> None:
    state = STATES["failures"]
    for number in range(100):
        state = state.with_entry(Entry(float(number), "certificate-verified", "x" * 200))

    assert state.history[-1].at == 99.0
    assert len(state.history) < 100
    assert len(serialize(state).encode()) < MAX_VALUE_BYTES
