"""The next step of a rotation: a table of named cases, and the ways through all worlds."""

import itertools
from dataclasses import replace

import pytest

from shared.trust.rotation import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Failure,
    Forget,
    Memory,
    Nothing,
    Policy,
    Progress,
    Reason,
    Send,
    Settle,
    Step,
    Stop,
    Update,
    Verify,
    Wait,
    World,
    decide,
)

POLICY = Policy(propagation=10, operation=100, settling=20, grace=50, retry=30)
NOW = 1000.0
OLD, NEW = Candidate("1", "old"), Candidate("2", "new")
REFUSED = replace(NEW, refusal="the key is not the certificate's")
BOTH = frozenset({"old", "new"})
ONLY_OLD, ONLY_NEW = frozenset({"old"}), frozenset({"new"})
GOOD_OLD, GOOD_NEW = Memory(good=OLD, verified_at=0), Memory(good=NEW, verified_at=NOW - 49)
BAD_NEW = Failure(Reason.VERIFICATION_FAILED, "no score")
FAILED_BEFORE = Failure(Reason.UPDATE_FAILED, "boom")
NO_WAY_BACK = Failure(Reason.ROLLBACK_FAILED, "no way", NOW)


def world(
    desired: Candidate | None = NEW,
    served: str | None = "old",
    pins: frozenset[str] = BOTH,
    memory: Memory = GOOD_OLD,
    *,
    pinned: float = 0,
    progress: Progress = Progress.UNKNOWN,
) -> World:
    return World(NOW, desired, served, pins, NOW - pinned if pinned else 0.0, progress, "boom", memory)


def updating(
    seconds: float, target: Candidate = NEW, *, is_rollback: bool = False, ended: float | None = None
) -> Memory:
    """An update that began some seconds ago, and ended some seconds ago."""
    ended_at = None if ended is None else NOW - ended
    return replace(GOOD_OLD, update=Update(target, NOW - seconds, "/operations/1", is_rollback, ended_at))


RUNNING, SUCCEEDED, FAILED = Progress.RUNNING, Progress.SUCCEEDED, Progress.FAILED
CASES: dict[str, tuple[World, Step]] = {
    "nothing to do": (world(OLD, "old", ONLY_OLD), Nothing()),
    "vault empty": (world(None), Stop(Reason.NO_CERTIFICATE)),
    "endpoint unreachable": (world(served=None), Stop(Reason.ENDPOINT_UNREACHABLE)),
    "certificate refused": (world(REFUSED, pins=ONLY_OLD), Stop(Reason.CERTIFICATE_REFUSED, REFUSED.refusal)),
    "served certificate refused by now": (
        world(REFUSED, "new", ONLY_NEW, GOOD_NEW),
        Stop(Reason.CERTIFICATE_REFUSED, REFUSED.refusal),
    ),
    "a new version": (world(pins=ONLY_OLD), AddPin(NEW)),
    "pinned just now": (world(pinned=9), Wait(NOW + 1, "every gateway must have read the new pin")),
    "pinned long enough": (world(pinned=10), Send(NEW)),
    "endpoint serves an unknown certificate": (world(served="stranger", pinned=1), Send(NEW)),
    "endpoint serves a certificate that an authority's pin may cover": (
        replace(world(served="stranger", pinned=1), has_authorities=True),
        Wait(NOW + 9, "every gateway must have read the new pin"),
    ),
    "endpoint serves an unknown certificate, none pinned": (world(served="stranger", pins=frozenset()), AddPin(NEW)),
    "update running": (world(memory=updating(99), progress=RUNNING), Wait(NOW + 1, "the update is running")),
    "update hung": (
        world(memory=updating(100), progress=RUNNING),
        Fail(NEW, Failure(Reason.UPDATE_HUNG, "the update did not end in time", NOW)),
    ),
    "update failed": (
        world(memory=updating(5), progress=FAILED),
        Fail(NEW, Failure(Reason.UPDATE_FAILED, "boom", NOW)),
    ),
    "update succeeded": (world(served="new", memory=updating(5), progress=SUCCEEDED), Verify(NEW)),
    "update succeeded at last, restarting": (
        world(served=None, memory=updating(95), progress=SUCCEEDED),
        Settle(),
    ),
    "update succeeded, restarting": (
        world(served=None, memory=updating(95, ended=5), progress=SUCCEEDED),
        Wait(NOW + 15, "the update is succeeded"),
    ),
    "update succeeded but old certificate served": (
        world(memory=updating(95, ended=20), progress=SUCCEEDED),
        Fail(NEW, Failure(Reason.OLD_CERTIFICATE_SERVED, "the update succeeded, but it changed nothing", NOW)),
    ),
    "update succeeded, and nothing answers": (
        world(served=None, memory=updating(95, ended=20), progress=SUCCEEDED),
        Fail(
            NEW,
            Failure(
                Reason.OLD_CERTIFICATE_SERVED,
                "the update succeeded, but the endpoint presents no certificate",
                NOW,
            ),
        ),
    ),
    "update failed for the second time": (
        world(memory=replace(updating(5), failed={"new": FAILED_BEFORE}), progress=FAILED),
        Fail(NEW, Failure(Reason.UPDATE_FAILED, "boom", NOW, 2)),
    ),
    "too early to try again": (
        world(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 29)})),
        Stop(Reason.UPDATE_FAILED, "boom", NOW + 1),
    ),
    "time to try again": (
        world(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 30)})),
        Send(NEW),
    ),
    "too early to try a third time": (
        world(memory=replace(GOOD_OLD, failed={"new": replace(FAILED_BEFORE, at=NOW - 30, times=2)})),
        Stop(Reason.UPDATE_FAILED, "boom", NOW + 30),
    ),
    "served after an update that seemed to fail": (
        world(served="new", memory=replace(GOOD_OLD, failed={"new": FAILED_BEFORE})),
        Verify(NEW),
    ),
    "crashed before the update was sent": (world(memory=updating(5)), Wait(NOW + 15, "the update is unknown")),
    "crashed before the update was sent, a while ago": (world(memory=updating(20)), Forget()),
    "crashed after the update was sent, and it arrived": (world(served="new", memory=updating(5)), Verify(NEW)),
    "another version while an update runs": (
        world(Candidate("3", "newer"), memory=updating(5), progress=RUNNING),
        Wait(NOW + 95, "the update is running"),
    ),
    "served, not pinned": (world(served="new", pins=ONLY_OLD), AddPin(NEW)),
    "served, never verified": (world(served="new"), Verify(NEW)),
    "verification failed": (
        world(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        Send(OLD, is_rollback=True),
    ),
    "verification failed, old pin gone": (
        world(served="new", pins=ONLY_NEW, memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        AddPin(OLD),
    ),
    "verification failed, nothing to roll back to": (
        world(served="new", memory=Memory(failed={"new": BAD_NEW})),
        Stop(Reason.VERIFICATION_FAILED, "no score"),
    ),
    "rolling back": (
        world(served="old", memory=updating(5, OLD, is_rollback=True), progress=SUCCEEDED),
        Verify(OLD),
    ),
    "rolled back": (
        world(memory=replace(GOOD_OLD, failed={"new": BAD_NEW})),
        Stop(Reason.VERIFICATION_FAILED, "no score"),
    ),
    "rollback failed": (
        world(served="new", memory=updating(5, OLD, is_rollback=True), progress=FAILED),
        Fail(OLD, Failure(Reason.ROLLBACK_FAILED, "boom", NOW)),
    ),
    "after a rollback that failed": (
        world(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": NO_WAY_BACK})),
        Stop(Reason.ROLLBACK_FAILED, "no way", NOW + 30),
    ),
    "rolled back, and the old one does not pass its proof either": (
        world(memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": NO_WAY_BACK})),
        Stop(Reason.ROLLBACK_FAILED, "no way"),
    ),
    "time to roll back again": (
        world(served="new", memory=replace(GOOD_OLD, failed={"new": BAD_NEW, "old": replace(NO_WAY_BACK, at=0)})),
        Send(OLD, is_rollback=True),
    ),
    "a better version after a failure": (
        world(Candidate("3", "newer"), memory=replace(GOOD_OLD, failed={"new": BAD_NEW}), pins=ONLY_OLD),
        AddPin(Candidate("3", "newer")),
    ),
    "old pin within its grace time": (
        world(served="new", memory=GOOD_NEW),
        Wait(NOW + 1, "the old pins' grace time"),
    ),
    "old pin after its grace time": (
        world(served="new", memory=replace(GOOD_NEW, verified_at=NOW - 50)),
        DropPins(NEW),
    ),
    "pinned alone": (world(served="new", pins=ONLY_NEW, memory=GOOD_NEW), Nothing()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_step(case: str) -> None:
    given, expected = CASES[case]

    assert decide(given, POLICY) == expected


def after(before: World, step: Step) -> World:  # noqa: PLR0911 - one line a step
    """The world once a step was done and all went well; time passes as far as the step waits."""
    memory = before.memory
    match step:
        case Wait(until):
            progress = Progress.SUCCEEDED if memory.update else before.progress
            served = memory.update.target.fingerprint if memory.update else before.served
            return replace(before, now=until, progress=progress, served=served)
        case AddPin(target):
            return replace(before, pins=before.pins | {target.fingerprint}, pins_changed_at=before.now)
        case Send(target, is_rollback):
            update = Update(target, before.now, "/operations/1", is_rollback)
            return replace(before, memory=replace(memory, update=update), progress=Progress.RUNNING)
        case Verify(target):
            return replace(before, memory=replace(memory, good=target, verified_at=before.now, update=None))
        case Fail(target, failure):
            failed = {**memory.failed, target.fingerprint: failure}
            return replace(before, memory=replace(memory, update=None, failed=failed))
        case Settle():
            assert memory.update is not None
            return replace(before, memory=replace(memory, update=replace(memory.update, ended_at=before.now)))
        case Forget():
            return replace(before, memory=replace(memory, update=None))
        case DropPins(keep):
            return replace(before, pins=frozenset({keep.fingerprint}))
        case _:
            raise AssertionError(step)


WORLDS = [
    World(NOW, desired, served, pins, changed, progress, "boom", Memory(good, NOW - 5, update, failed))
    for desired, served, pins, changed, good, (update, progress), failed in itertools.product(
        [None, OLD, NEW, REFUSED],
        [None, "old", "new", "stranger"],
        [frozenset[str](), ONLY_OLD, ONLY_NEW, BOTH, frozenset({"stranger"})],
        [0.0, NOW],
        [None, OLD, NEW],
        [
            (None, Progress.UNKNOWN),
            *((Update(target, NOW - 5), progress) for target in (OLD, NEW) for progress in Progress),
            (Update(OLD, NOW - 5, is_rollback=True), Progress.FAILED),
        ],
        [{}, {"new": BAD_NEW}],
    )
]


def test_every_world_converges_or_stops_with_a_reason() -> None:
    """Whatever the mix of versions, pins, served certificates and memories."""
    assert len(WORLDS) > 5000
    for start in WORLDS:
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


def test_no_step_breaks_a_connection_that_worked() -> None:
    """A certificate is sent only when it is pinned, and long enough; a pin of what is served is never dropped."""
    for given in WORLDS:
        step = decide(given, POLICY)
        if isinstance(step, Send):
            assert step.target.fingerprint in given.pins
            assert step.is_rollback or given.served not in given.pins or given.now >= given.pins_changed_at + 10
            assert given.memory.update is None
        if isinstance(step, DropPins):
            assert step.keep.fingerprint == given.served
