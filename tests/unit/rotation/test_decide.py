"""The next step of a rotation: a table of named cases, and the sequences of steps from all states."""

import itertools
from dataclasses import replace

import pytest

from shared.rotation.decide import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Failure,
    Memory,
    Nothing,
    ObservedState,
    Policy,
    Progress,
    Reason,
    Send,
    Settle,
    Step,
    Stop,
    Trouble,
    Update,
    Verify,
    Wait,
    decide,
)

POLICY = Policy(propagation=10, operation=100, settling=20, grace=50, retry=30, conflict=5)
NOW = 1000.0
OLD, NEW = Candidate("1", "old"), Candidate("2", "new")
REFUSED = replace(NEW, refusal="the key is not the certificate's")
BOTH = frozenset({"old", "new"})
ONLY_OLD, ONLY_NEW = frozenset({"old"}), frozenset({"new"})
GOOD_OLD, GOOD_NEW = Memory(good=OLD, verified_at=0), Memory(good=NEW, verified_at=NOW - 49)
BAD_NEW = Failure(Reason.VERIFICATION_FAILED, "no score")
FAILED_BEFORE = Failure(Reason.UPDATE_FAILED, "boom")
ROLLBACK_FAILED = Failure(Reason.ROLLBACK_FAILED, "no score", NOW)


def state(
    desired: Candidate | None = NEW,
    served: str | None = "old",
    pins: frozenset[str] = BOTH,
    memory: Memory = GOOD_OLD,
    *,
    pinned: float = 0,
    progress: Progress = Progress.UNKNOWN,
) -> ObservedState:
    changed = NOW - pinned if pinned else 0.0
    return ObservedState(NOW, desired, served, pins, changed, progress, "boom", memory, fallback=memory.good)


def updating(
    seconds: float, target: Candidate = NEW, *, is_rollback: bool = False, ended: float | None = None
) -> Memory:
    """The memory of an update that began, and possibly ended, some seconds ago."""
    ended_at = None if ended is None else NOW - ended
    return replace(GOOD_OLD, update=Update(target, NOW - seconds, "/operations/1", is_rollback, ended_at))


def lost(why: str = "the run that sent it ended before its outcome was known", times: int = 1) -> Failure:
    return Failure(Reason.UPDATE_LOST, f"it had no effect, and nothing is known of it: {why}", NOW, times)


CONFLICT = Failure(Reason.UPDATE_CONFLICT, "409", NOW)
TROUBLE = Trouble("new", "the model is loading", NOW - 19)
NOTHING = Failure(Reason.NOTHING_SERVED, "no certificate", NOW)
EXPIRED = replace(OLD, refusal="it expired")
RUNNING, SUCCEEDED, FAILED = Progress.RUNNING, Progress.SUCCEEDED, Progress.FAILED
CASES: dict[str, tuple[ObservedState, Step]] = {
    "nothing to do": (state(OLD, "old", ONLY_OLD), Nothing()),
    "vault empty": (state(None), Stop(Reason.NO_CERTIFICATE)),
    "endpoint unreachable": (state(served=None), Stop(Reason.ENDPOINT_UNREACHABLE)),
    "certificate refused": (state(REFUSED, pins=ONLY_OLD), Stop(Reason.CERTIFICATE_REFUSED, REFUSED.refusal)),
    "served certificate no longer valid": (
        state(REFUSED, "new", ONLY_NEW, GOOD_NEW),
        Stop(Reason.CERTIFICATE_REFUSED, REFUSED.refusal),
    ),
    "new version": (state(pins=ONLY_OLD), AddPin(NEW)),
    "offered, and a person removed its pin": (
        state(pins=ONLY_OLD, memory=replace(GOOD_OLD, offered="new")),
        AddPin(NEW),
    ),
    "pinned recently": (state(pinned=9), Wait(NOW + 1, "every gateway must have read the new pin")),
    "pinned long enough": (state(pinned=10), Send(NEW)),
    "endpoint serves an unknown certificate": (state(served="unknown", pinned=1), Send(NEW)),
    "endpoint serves a certificate that a pinned authority may have issued": (
        replace(state(served="unknown", pinned=1), has_authorities=True),
        Wait(NOW + 9, "every gateway must have read the new pin"),
    ),
    "endpoint serves an unknown certificate, none pinned": (state(served="unknown", pins=frozenset()), AddPin(NEW)),
    "update running": (state(memory=updating(99), progress=RUNNING), Wait(NOW + 1, "the update is running")),
    "update running, and its certificate is served already": (
        state(served="new", memory=updating(99), progress=RUNNING),
        Wait(NOW + 1, "the update is running"),
    ),
    "update hung": (
        state(memory=updating(100), progress=RUNNING),
        Fail(NEW, Failure(Reason.UPDATE_HUNG, "the update did not end in time", NOW)),
    ),
    "update failed": (
        state(memory=updating(5), progress=FAILED),
        Fail(NEW, Failure(Reason.UPDATE_FAILED, "boom", NOW)),
    ),
    "update succeeded": (state(served="new", memory=updating(5), progress=SUCCEEDED), Verify(NEW)),
    "update succeeded just now, restarting": (
        state(served=None, memory=updating(95), progress=SUCCEEDED),
        Settle(),
    ),
    "update succeeded, restarting": (
        state(served=None, memory=updating(95, ended=5), progress=SUCCEEDED),
        Wait(NOW + 15, "the update is succeeded"),
    ),
    "update succeeded but old certificate served": (
        state(memory=updating(95, ended=20), progress=SUCCEEDED),
        Fail(NEW, Failure(Reason.OLD_CERTIFICATE_SERVED, "the update succeeded, but it changed nothing", NOW)),
    ),
    "update succeeded, and the endpoint is unreachable": (
        state(served=None, memory=updating(95, ended=20), progress=SUCCEEDED),
        Fail(
            NEW,
            Failure(
                Reason.NOTHING_SERVED,
                "the update succeeded, but the endpoint presents no certificate",
                NOW,
            ),
        ),
    ),
    "update failed for the second time": (
        state(memory=replace(updating(5), failed={"new": FAILED_BEFORE}), progress=FAILED),
        Fail(NEW, Failure(Reason.UPDATE_FAILED, "boom", NOW, 2)),
    ),
    "too early for a retry": (
        state(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 29)})),
        Stop(Reason.UPDATE_FAILED, "boom", NOW + 1),
    ),
    "time for a retry": (
        state(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 30)})),
        Send(NEW),
    ),
    "too early for a second retry": (
        state(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 30, times=2)})),
        Stop(Reason.UPDATE_FAILED, "boom", NOW + 30),
    ),
    "served after an update that was reported as failed": (
        state(served="new", memory=replace(GOOD_OLD, failed={"new": FAILED_BEFORE})),
        Verify(NEW),
    ),
    "crashed before the update was sent": (state(memory=updating(5)), Wait(NOW + 15, "the update is unknown")),
    "crashed before the update was sent, long ago": (state(memory=updating(20)), Fail(NEW, lost())),
    "lost for the second time": (
        state(memory=replace(updating(20), failed={"new": lost()})),
        Fail(NEW, lost(times=2)),
    ),
    "lost, with its cause": (
        state(memory=replace(GOOD_OLD, update=Update(NEW, NOW - 20, trouble="status 503"))),
        Fail(NEW, lost("status 503")),
    ),
    "lost once: sent again": (state(memory=replace(GOOD_OLD, failed={"new": lost()})), Send(NEW)),
    "lost twice: announced, and a pause": (
        state(memory=replace(GOOD_OLD, failed={"new": lost(times=2)})),
        Stop(Reason.UPDATE_LOST, lost().message, NOW + 20),
    ),
    "lost five times": (
        state(memory=replace(GOOD_OLD, failed={"new": lost(times=5)})),
        Stop(Reason.UPDATE_LOST, lost().message, NOW + 160),
    ),
    "a lost roll-back is not a failed one": (
        state(served="new", memory=updating(20, OLD, is_rollback=True)),
        Fail(OLD, lost()),
    ),
    "another operation is in progress": (
        state(memory=replace(GOOD_OLD, failed={"new": replace(CONFLICT, times=1)})),
        Stop(Reason.UPDATE_CONFLICT, "409", NOW + 5),
    ),
    "crashed after the update was sent": (state(served="new", memory=updating(5)), Verify(NEW)),
    "another version while an update runs": (
        state(Candidate("3", "newer"), memory=updating(5), progress=RUNNING),
        Wait(NOW + 95, "the update is running"),
    ),
    "served, not pinned": (state(served="new", pins=ONLY_OLD), AddPin(NEW)),
    "served, never verified": (state(served="new"), Verify(NEW)),
    "verification failed": (
        state(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        Send(OLD, is_rollback=True),
    ),
    "verification failed, old pin dropped": (
        state(served="new", pins=ONLY_NEW, memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        AddPin(OLD),
    ),
    "verification failed, nothing to roll back to": (
        state(served="new", memory=Memory(failed={"new": BAD_NEW})),
        Stop(Reason.VERIFICATION_FAILED, "no score"),
    ),
    "rolling back": (
        state(served="old", memory=updating(5, OLD, is_rollback=True), progress=SUCCEEDED),
        Verify(OLD),
    ),
    "rolled back": (
        state(memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        Stop(Reason.VERIFICATION_FAILED, "no score"),
    ),
    "rollback failed": (
        state(served="new", memory=updating(5, OLD, is_rollback=True), progress=FAILED),
        Fail(OLD, Failure(Reason.ROLLBACK_FAILED, "boom", NOW)),
    ),
    "after a failed rollback": (
        state(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": ROLLBACK_FAILED})),
        Stop(Reason.ROLLBACK_FAILED, "no score", NOW + 30),
    ),
    "rolled back, and the verification of the old one failed too": (
        state(memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": ROLLBACK_FAILED})),
        Stop(Reason.ROLLBACK_FAILED, "no score"),
    ),
    "time for another rollback": (
        state(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": replace(ROLLBACK_FAILED, at=0)})),
        Send(OLD, is_rollback=True),
    ),
    "newer version after a failure": (
        state(Candidate("3", "newer"), memory=replace(GOOD_OLD, failed={"new": BAD_NEW}), pins=ONLY_OLD),
        AddPin(Candidate("3", "newer")),
    ),
    "old pin within its grace time": (
        state(served="new", memory=GOOD_NEW),
        Wait(NOW + 1, "the old pins' grace time"),
    ),
    "old pin after its grace time": (
        state(served="new", memory=replace(GOOD_NEW, verified_at=NOW - 50)),
        DropPins(NEW, ONLY_OLD),
    ),
    "the grace time of a pin does not start again with each renewal": (
        state(served="new", pins=BOTH | {"older"}, memory=replace(GOOD_NEW, retired={"older": NOW - 50})),
        DropPins(NEW, frozenset({"older"})),
    ),
    "a pin whose grace time is over, while the next certificate is pinned": (
        state(pins=ONLY_OLD | {"older"}, memory=replace(GOOD_OLD, retired={"older": NOW - 50})),
        AddPin(NEW, frozenset({"older"})),
    ),
    "a pin that may go where there is no room": (
        state(pins=ONLY_OLD | {"b", "a"}, memory=replace(GOOD_OLD, retired={"b": NOW - 9, "a": NOW - 8})),
        AddPin(NEW, spare=("b", "a")),
    ),
    "a pin whose certificate was never sent": (
        state(pins=ONLY_OLD | {"skipped"}, memory=replace(GOOD_OLD, offered="skipped")),
        AddPin(NEW, frozenset({"skipped"})),
    ),
    "a pin whose certificate failed may be served": (
        state(pins=ONLY_OLD | {"bad"}, memory=replace(GOOD_OLD, offered="bad", failed={"bad": BAD_NEW})),
        AddPin(NEW),
    ),
    "verification prevented": (
        state(served="new", memory=replace(updating(5), trouble=TROUBLE)),
        Verify(NEW),
    ),
    "verification prevented for the settling time": (
        state(served="new", memory=replace(updating(5), trouble=replace(TROUBLE, since=NOW - 20))),
        Verify(NEW, "the model is loading"),
    ),
    "verification prevented, without an update": (
        state(served="new", memory=replace(GOOD_OLD, trouble=replace(TROUBLE, since=NOW - 20))),
        Verify(NEW, "the model is loading"),
    ),
    "what prevented the verification of another one": (
        state(served="new", memory=replace(updating(5), trouble=Trouble("old", "", 0))),
        Verify(NEW),
    ),
    "every handshake refused after an update": (
        replace(state(served=None, memory=updating(9, ended=1), progress=SUCCEEDED), handshake_refused=True),
        Fail(NEW, Failure(Reason.VERIFICATION_FAILED, "the service refuses every TLS handshake since then", NOW)),
    ),
    "every handshake refused, without an update": (
        replace(state(served=None), handshake_refused=True),
        Stop(Reason.ENDPOINT_UNREACHABLE),
    ),
    "nothing served since an update": (
        state(served=None, memory=replace(GOOD_OLD, failed={"new": NOTHING})),
        Send(OLD, is_rollback=True),
    ),
    "nothing served, long after a roll-back": (
        state(served=None, memory=Memory(OLD, NOW, failed={"new": replace(NOTHING, at=NOW - 99)})),
        Stop(Reason.ENDPOINT_UNREACHABLE),
    ),
    "nothing was served: not tried again": (
        state(memory=replace(GOOD_OLD, failed={"new": replace(NOTHING, at=0)})),
        Stop(Reason.NOTHING_SERVED, "no certificate"),
    ),
    "the certificate to roll back to must not be used": (
        replace(state(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW})), fallback=EXPIRED),
        Stop(Reason.ROLLBACK_REFUSED, "no score; and to the last good certificate: it expired"),
    ),
    "pinned alone": (state(served="new", pins=ONLY_NEW, memory=GOOD_NEW), Nothing()),
}


def test_the_pauses_before_a_retry_end_at_a_day() -> None:
    failure = Failure(Reason.UPDATE_FAILED, "boom", NOW, 40)
    step = decide(state(memory=replace(GOOD_OLD, failed={"new": failure})), POLICY)

    assert step == Stop(Reason.UPDATE_FAILED, "boom", NOW + 24 * 3600)


@pytest.mark.parametrize("case", CASES)
def test_the_next_step_of_each_case(case: str) -> None:
    observed, expected = CASES[case]

    assert decide(observed, POLICY) == expected


def after(before: ObservedState, step: Step) -> ObservedState:  # noqa: PLR0911 - one line a step
    """The state after a successful step; a wait advances the time."""
    memory = before.memory
    match step:
        case Wait(until):
            progress = Progress.SUCCEEDED if memory.update else before.progress
            served = memory.update.target.fingerprint if memory.update else before.served
            return replace(before, now=until, progress=progress, served=served)
        case AddPin(target, dropped):
            pins = before.pins - dropped | {target.fingerprint}
            return replace(before, pins=pins, pins_changed_at=before.now)
        case Send(target, is_rollback):
            update = Update(target, before.now, "/operations/1", is_rollback)
            return replace(before, memory=replace(memory, update=update), progress=Progress.RUNNING)
        case Verify(target):
            memory = replace(memory, good=target, verified_at=before.now, update=None)
            return replace(before, memory=memory, fallback=target)
        case Fail(target, failure):
            failed = {**memory.failed, target.fingerprint: failure}
            return replace(before, memory=replace(memory, update=None, failed=failed))
        case Settle():
            assert memory.update is not None
            return replace(before, memory=replace(memory, update=replace(memory.update, ended_at=before.now)))
        case DropPins(_, dropped):
            return replace(before, pins=before.pins - dropped)
        case _:
            raise AssertionError(step)


STATES = [
    ObservedState(
        NOW,
        desired,
        served,
        pins,
        changed,
        progress,
        "boom",
        Memory(good, NOW - 5, update, failed),
        fallback=good and replace(good, refusal=fallback_refusal),
    )
    for desired, served, pins, changed, good, (update, progress), failed, fallback_refusal in itertools.product(
        [None, OLD, NEW, REFUSED],
        [None, "old", "new", "unknown"],
        [frozenset[str](), ONLY_OLD, ONLY_NEW, BOTH, frozenset({"unknown"})],
        [0.0, NOW],
        [None, OLD, NEW],
        [
            (None, Progress.UNKNOWN),
            *((Update(target, NOW - 5), progress) for target in (OLD, NEW) for progress in Progress),
            (Update(OLD, NOW - 5, is_rollback=True), Progress.FAILED),
        ],
        [{}, {"new": BAD_NEW}, {"new": NOTHING}],
        ["", "it expired"],
    )
]


def test_every_state_converges_or_stops_with_a_reason() -> None:
    """For every combination of versions, pins, served certificates and memories."""
    assert len(STATES) > 5000
    for start in STATES:
        current, steps = start, list[Step]()
        while True:
            step = decide(current, POLICY)
            steps.append(step)
            assert len(steps) < 20, (start, steps)
            if isinstance(step, Nothing | Stop):
                break
            current = after(current, step)
        if isinstance(step, Nothing):
            assert current.desired is not None
            assert current.served == current.desired.fingerprint
            assert current.pins == {current.desired.fingerprint}
            assert current.memory.good is not None
            assert current.memory.good.fingerprint == current.desired.fingerprint


def test_no_step_breaks_a_working_connection() -> None:
    """A certificate is sent only after it was pinned long enough; the served certificate's pin is never dropped."""
    for before in STATES:
        step = decide(before, POLICY)
        if isinstance(step, Send):
            assert step.target.fingerprint in before.pins
            assert step.is_rollback or before.served not in before.pins or before.now >= before.pins_changed_at + 10
            assert before.memory.update is None
            assert not step.target.refusal, "what is rolled back to is validated, too"
        if isinstance(step, DropPins):
            assert step.keep.fingerprint == before.served
        if isinstance(step, DropPins | AddPin):
            assert before.served not in step.dropped
