"""A rotation's state as JSON: the phase of each step, and its description."""

import json
from dataclasses import replace

import pytest

from shared.credentials.secrets import Secret
from shared.rotation import status
from shared.rotation.decide import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Failure,
    Memory,
    Nothing,
    ObservedState,
    Reason,
    Send,
    Settle,
    Step,
    Stop,
    Update,
    Verify,
    Wait,
)
from shared.rotation.decide_keys import Finish, KeyKind, KeysSettled, KeyStep, KeyWait, Regenerate, Store
from shared.rotation.events import Hold
from shared.rotation.observe import Keys, Observation, PinnedCertificates
from shared.rotation.state import RotationState

OLD, NEW = Candidate("1", "aa"), Candidate("2", "bb")
UPDATE, ROLLBACK = Update(NEW, 1.0), Update(OLD, 1.0, is_rollback=True)


def observed(step: Step, served: str = OLD.fingerprint, update: Update | None = None) -> Observation:
    memory = Memory(good=OLD, update=update)
    state = ObservedState(now=2.0, desired=NEW, served=served, pins=frozenset({"aa"}), memory=memory)
    return Observation(RotationState(memory), state, step, None, None, PinnedCertificates())


PHASES = {
    "steady": observed(Nothing(), "bb"),
    "stopped": observed(Stop(Reason.NO_CERTIFICATE)),
    "pinning": observed(AddPin(NEW)),
    "propagating": observed(Wait(3.0, "every gateway must have read the new pin")),
    "updating": observed(Send(NEW)),
    "updating, and waiting": observed(Wait(3.0, "the update is running"), update=UPDATE),
    "updating, and settling": observed(Settle(), update=UPDATE),
    "updating, and failing": observed(Fail(NEW, Failure(Reason.UPDATE_FAILED)), update=UPDATE),
    "verifying": observed(Verify(NEW), "bb"),
    "grace": observed(Wait(3.0, "the old pins' grace time"), "bb"),
    "dropping-pins": observed(DropPins(NEW, frozenset({"aa"})), "bb"),
    "rolling-back": observed(Send(OLD, is_rollback=True), "bb"),
    "rolling-back, and waiting": observed(Wait(3.0, "the update is running"), "bb", ROLLBACK),
}


@pytest.mark.parametrize("case", PHASES)
def test_each_step_has_a_phase_and_an_action(case: str) -> None:
    described = status.describe(PHASES[case])

    assert described["phase"] == case.partition(",")[0]
    assert described["next_step"]["action"]
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("case", "at", "state"),
    [
        ("steady", "steady", "current"),
        ("pinning", "pinning", "current"),
        ("propagating", "propagating", "current"),
        ("updating, and settling", "updating", "current"),
        ("dropping-pins", "dropping-pins", "current"),
        # Those beside the line: how far the desired certificate has come, by what is pinned and served.
        ("stopped", "pinning", "stopped"),
        ("rolling-back", "verifying", "rolling-back"),
    ],
)
def test_the_line_of_the_steps(case: str, at: str, state: str) -> None:
    found = PHASES[case]
    if case == "rolling-back":
        found = replace(found, state=replace(found.state, pins=frozenset({"aa", "bb"})))

    steps = status.steps(found)

    assert [step["phase"] for step in steps] == list(status.LINE)
    number = status.LINE.index(at)
    assert [step["state"] for step in steps] == ["done"] * number + [state] + ["ahead"] * (6 - number)


@pytest.mark.parametrize(
    ("served", "pins", "good", "at"),
    [
        ("aa", {"aa", "bb"}, OLD, "updating"),
        ("bb", {"aa", "bb"}, OLD, "verifying"),
        ("bb", {"aa", "bb"}, NEW, "grace"),
        ("bb", {"bb"}, NEW, "steady"),
        (None, {"aa"}, None, "pinning"),
    ],
)
def test_where_a_stopped_rotation_has_come_to(served: str | None, pins: set[str], good: Candidate, at: str) -> None:
    found = PHASES["stopped"]
    memory = replace(found.state.memory, good=good)
    state = replace(found.state, served=served, pins=frozenset(pins), memory=memory)

    [here] = [one for one in status.steps(replace(found, state=state)) if one["state"] == "stopped"]

    assert here["phase"] == at


@pytest.mark.parametrize(
    ("step", "described"),
    [
        (KeysSettled(), {"action": "nothing"}),
        (KeyWait(3.0), {"action": "wait", "until": "1970-01-01T00:00:03+00:00"}),
        (Store(KeyKind.PRIMARY), {"action": "store", "key": "primary"}),
        (Regenerate(KeyKind.SECONDARY), {"action": "regenerate", "key": "secondary"}),
        (Finish(), {"action": "finish"}),
    ],
)
def test_the_keys_have_their_own_next_step(step: KeyStep, described: dict[str, str]) -> None:
    keys = Keys({}, {KeyKind.PRIMARY: Secret("a-key", "1", 3.0)}, step)

    described_keys = status.describe(replace(PHASES["steady"], keys=keys))["keys"]

    assert described_keys["next_step"] == described
    assert described_keys["primary"] == {"version": "1", "stored_at": "1970-01-01T00:00:03+00:00"}


def test_a_wait_ends_at_a_date() -> None:
    assert status.describe(PHASES["grace"])["next_step"] == {
        "action": "wait",
        "until": "1970-01-01T00:00:03+00:00",
        "detail": "the old pins' grace time",
    }


def test_a_stop_has_a_reason_and_the_time_of_the_retry() -> None:
    described = status.describe(observed(Stop(Reason.UPDATE_FAILED, "no accelerator is free", 60.0)))

    assert described["next_step"] == {
        "action": "stop",
        "reason": "update-failed",
        "detail": "no accelerator is free",
        "until": "1970-01-01T00:01:00+00:00",
    }


def test_a_stop_that_comes_and_goes_is_announced_once_it_has_lasted() -> None:
    hold = Hold("endpoint-unreachable")
    for now in range(0, 60, 6):
        assert not hold.is_due("endpoint-unreachable", "", now, 10)
        assert not hold.is_due("", "", now + 3, 10)
    assert not hold.is_due("endpoint-unreachable", "", 100, 10)
    assert not hold.is_due("endpoint-unreachable", "", 109, 10)
    assert hold.is_due("endpoint-unreachable", "", 110, 10)
    assert not hold.is_due("", "endpoint-unreachable", 111, 10)
    assert hold.is_due("", "endpoint-unreachable", 121, 10)
    assert hold.is_due("certificate-refused: it expired", "endpoint-unreachable", 122, 10), "at once"
    assert hold.is_due("certificate-refused: it expired", "", 122, 10), "at once"
