"""A rotation's state as JSON: the phase of each step, and that every step has its words."""

import json

import pytest

from shared.trust import status
from shared.trust.notes import Note
from shared.trust.observer import Pinned, View
from shared.trust.rotation import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Failure,
    Forget,
    Memory,
    Nothing,
    Reason,
    Send,
    Settle,
    Step,
    Stop,
    Update,
    Verify,
    Wait,
    World,
)

OLD, NEW = Candidate("1", "aa"), Candidate("2", "bb")
UPDATE, ROLLBACK = Update(NEW, 1.0), Update(OLD, 1.0, is_rollback=True)


def view(step: Step, served: str = OLD.fingerprint, update: Update | None = None) -> View:
    memory = Memory(good=OLD, update=update)
    world = World(now=2.0, desired=NEW, served=served, pins=frozenset({"aa"}), memory=memory)
    return View(Note(memory), world, step, None, None, Pinned())


PHASES = {
    "steady": view(Nothing(), "bb"),
    "stopped": view(Stop(Reason.NO_CERTIFICATE)),
    "pinning": view(AddPin(NEW)),
    "propagating": view(Wait(3.0, "every gateway must have read the new pin")),
    "updating": view(Send(NEW)),
    "updating, and waiting": view(Wait(3.0, "the update is running"), update=UPDATE),
    "updating, and settling": view(Settle(), update=UPDATE),
    "updating, and forgetting": view(Forget(), update=UPDATE),
    "updating, and failing": view(Fail(NEW, Failure(Reason.UPDATE_FAILED)), update=UPDATE),
    "verifying": view(Verify(NEW), "bb"),
    "grace": view(Wait(3.0, "the old pins' grace time"), "bb"),
    "dropping-pins": view(DropPins(NEW), "bb"),
    "rolling-back": view(Send(OLD, is_rollback=True), "bb"),
    "rolling-back, and waiting": view(Wait(3.0, "the update is running"), "bb", ROLLBACK),
}


@pytest.mark.parametrize("case", PHASES)
def test_the_phase_of_a_step(case: str) -> None:
    told = status.describe(PHASES[case])

    assert told["phase"] == case.partition(",")[0]
    assert told["next_step"]["action"]
    assert json.loads(json.dumps(told)) == told


def test_a_time_that_is_waited_for_is_told_as_a_date() -> None:
    assert status.describe(PHASES["grace"])["next_step"] == {
        "action": "wait",
        "until": "1970-01-01T00:00:03+00:00",
        "detail": "the old pins' grace time",
    }


def test_a_stop_tells_why_and_when_it_goes_on_by_itself() -> None:
    told = status.describe(view(Stop(Reason.UPDATE_FAILED, "no accelerator is free", 60.0)))

    assert told["next_step"] == {
        "action": "stop",
        "reason": "update-failed",
        "detail": "no accelerator is free",
        "until": "1970-01-01T00:01:00+00:00",
    }
