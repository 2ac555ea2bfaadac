"""A rotation's memory as it lies in Key Vault: what is written is read again, and nothing else is."""

import json

import pytest

from devstack.vault.store import MAX_VALUE_BYTES
from shared.trust import notes
from shared.trust.key_rotation import Kind
from shared.trust.notes import Entry, Note
from shared.trust.rotation import Candidate, Failure, Memory, Reason, Update

CANDIDATE = Candidate("0123456789abcdef" * 2, "ab" * 32)
UPDATE = Update(CANDIDATE, 1_700_000_000.5, "/operations/1", is_rollback=True, ended_at=1_700_000_001.5)

NOTES = {
    "nothing known": Note(),
    "a certificate verified": Note(Memory(good=CANDIDATE, verified_at=1_700_000_000.25)),
    "an update under way": Note(Memory(update=Update(CANDIDATE, 1.5))),
    "an update that has ended": Note(Memory(good=CANDIDATE, update=UPDATE)),
    "failures": Note(Memory(failed={"cd" * 32: Failure(Reason.UPDATE_FAILED, 'it said "no" \u2026', 2.5, 3)})),
    "keys under way": Note(keys={Kind.PRIMARY: "1", Kind.SECONDARY: "2"}),
    "all the rest": Note(stopped="no-certificate", warned=("ef" * 32, 7), history=(Entry(1.5, "pin-added", "why"),)),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_is_written_is_read_again(case: str) -> None:
    assert notes.read(notes.write(NOTES[case])) == NOTES[case]


def damaged(**changes: object) -> str:
    """A sound note but for some members; None takes one away."""
    document = {**json.loads(notes.write(NOTES["an update that has ended"])), **changes}
    return json.dumps({name: value for name, value in document.items() if value != "(without)"})


BROKEN = {
    "empty": "",
    "not JSON": "nonsense",
    "no object": "[]",
    "nothing": "null",
    "nested without end": "[" * 100_000,
    "no format": damaged(format="(without)"),
    "a later format": damaged(format=2),
    "no memory": damaged(memory="(without)"),
    "a memory that is a list": damaged(memory=[]),
    "a time that is a word": damaged(memory={"good": None, "verified_at": "today", "update": None, "failed": {}}),
    "a time without end": damaged(memory={"good": None, "verified_at": 1e999, "update": None, "failed": {}}),
    "a time that no date tells": damaged(history=[{"at": 1e15, "event": "pin-added", "detail": ""}]),
    "an unknown key": damaged(keys={"tertiary": "1"}),
    "a history that is a number": damaged(history=1),
    "an entry without its time": damaged(history=[{"event": "pin-added", "detail": ""}]),
    "a warning cut short": damaged(warned=["ef"]),
    "a warning without end": damaged(warned=["ef", 1e999]),
    "an unknown reason": damaged(
        memory={
            "good": None,
            "verified_at": 0,
            "update": None,
            "failed": {"cd": {"reason": "bad weather", "message": "", "at": 0, "times": 1}},
        }
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_anything_else_is_an_error_of_one_kind(case: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON decoder's own words differ
        notes.read(BROKEN[case])


def test_the_history_keeps_the_last_steps_and_fits_a_secret() -> None:
    note = NOTES["failures"]
    for number in range(100):
        note = note.with_entry(Entry(float(number), "certificate-verified", "x" * 200))

    assert note.history[-1].at == 99.0
    assert len(note.history) < 100
    assert len(notes.write(note).encode()) < MAX_VALUE_BYTES
