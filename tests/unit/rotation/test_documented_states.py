"""docs/rotation-states.md against the decisions: each row's step, its event, and that no step or reason is missing."""

import re
from typing import get_args

import pytest

from shared.rotation import decide as decisions
from shared.rotation import events
from shared.rotation.decide import (
    AddPin,
    DropPins,
    Fail,
    Nothing,
    Reason,
    Send,
    Settle,
    Step,
    Stop,
    Verify,
    Wait,
    decide,
)
from tests.conftest import ROOT
from tests.unit.rotation.test_decide import CASES, POLICY

HEADER = ["state", "observed", "step", "if the run ends in the step", "a person is told"]
KINDS = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
# The events of which a step's row has to name one.
EVENTS: dict[type[Step], set[str]] = {
    Nothing: set(),
    Wait: set(),
    Stop: {events.STOPPED},
    AddPin: {events.PIN_ADDED},
    Send: {events.UPDATE_SENT},
    Settle: {events.UPDATE_ENDED},
    Verify: {events.ROTATED, events.VERIFIED, events.ROLLED_BACK, events.BLOCKED},
    Fail: {events.UPDATE_FAILED, events.UPDATE_LOST, events.VERIFICATION_FAILED},
    DropPins: {events.PINS_DROPPED},
}


def rows() -> dict[str, list[str]]:
    """The columns of each row, by its state."""
    found = {}
    for line in (ROOT / "docs" / "rotation-states.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells != HEADER:
            assert len(cells) == len(HEADER), line
            assert cells[0] not in found, line
            found[cells[0]] = cells[1:]
    return found


ROWS = rows()


def words(step: Step) -> str:  # noqa: PLR0911 - one line a step
    match step:
        case Stop(reason, _, until):
            return f"stop `{reason}`{'' if until is None else ', retried'}"
        case Fail(_, failure):
            return f"note `{failure.reason}`"
        case Send(_, is_rollback):
            return f"send the {'roll-back' if is_rollback else 'update'}"
        case Verify(_, overdue):
            return f"verify{f', and stop `{Reason.NOT_VERIFIED}`' if overdue else ''}"
        case AddPin():
            return "add the pin"
        case DropPins():
            return "drop old pins"
        case Settle():
            return "note the end"
        case _:
            return type(step).__name__.lower()


@pytest.mark.parametrize("state", ROWS)
def test_each_documented_state_leads_to_its_documented_step(state: str) -> None:
    observed, documented, interrupted, told = ROWS[state]
    step = decide(CASES[state][0], POLICY)

    assert observed
    assert documented == words(step)
    named = set(re.findall(r"`([a-z-]+)`", told))
    assert named <= KINDS
    wanted = EVENTS[type(step)]
    assert named & wanted if wanted else not named
    # A step that changes something says what holds after a crash in it.
    assert bool(interrupted) is not isinstance(step, Nothing | Wait | Stop)


def test_every_step_and_every_reason_is_documented() -> None:
    documented = {type(decide(CASES[state][0], POLICY)) for state in ROWS}
    reasons = {reason for _, step, _, _ in ROWS.values() for reason in re.findall(r"`([a-z-]+)`", step)}

    assert documented == set(get_args(decisions.Step.__value__))
    assert reasons == set(Reason)
