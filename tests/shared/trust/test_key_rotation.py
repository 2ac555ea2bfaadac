"""The next step of a key rotation: a table of named cases, and a walk through a whole one."""

from dataclasses import replace

import pytest

from shared.trust.key_rotation import (
    Finish,
    HeldKey,
    KeysSettled,
    KeyStep,
    KeyWait,
    KeyWorld,
    Kind,
    Regenerate,
    Store,
    decide_keys,
)

PRIMARY, SECONDARY = Kind.PRIMARY, Kind.SECONDARY
NOW, PROPAGATION = 1000.0, 10.0
P1, S1 = HeldKey("p1", 100, is_current=True), HeldKey("s1", 100, is_current=True)
BOTH = {PRIMARY: "p1", SECONDARY: "s1"}


def world(primary: HeldKey = P1, secondary: HeldKey = S1, requested: dict[Kind, str] | None = None) -> KeyWorld:
    return KeyWorld(NOW, {PRIMARY: primary, SECONDARY: secondary}, requested)


CASES: dict[str, tuple[KeyWorld, KeyStep]] = {
    "nothing to do": (world(), KeysSettled()),
    "asked for, both made together": (world(requested=BOTH), Regenerate(SECONDARY)),
    "asked for, the secondary is in use": (world(P1, replace(S1, created=200), BOTH), Regenerate(PRIMARY)),
    "asked for, the primary is in use": (world(replace(P1, created=200), S1, BOTH), Regenerate(SECONDARY)),
    "asked for, a key was changed just now": (world(replace(P1, created=995), S1, BOTH), KeyWait(1005)),
    "died after it regenerated": (world(P1, replace(S1, is_current=False), BOTH), Store(SECONDARY)),
    "the first was replaced just now": (world(P1, HeldKey("s2", 995, is_current=True), BOTH), KeyWait(1005)),
    "the first was replaced a while ago": (
        world(P1, HeldKey("s2", 990, is_current=True), BOTH),
        Regenerate(PRIMARY),
    ),
    "the first was replaced in the second in which the other was made": (
        world(P1, HeldKey("s2", 100, is_current=True), BOTH),
        Regenerate(PRIMARY),
    ),
    "both were replaced": (
        world(HeldKey("p2", 999, is_current=True), HeldKey("s2", 980, is_current=True), BOTH),
        Finish(),
    ),
    "a person regenerated both": (
        world(replace(P1, is_current=False), replace(S1, is_current=False)),
        Store(PRIMARY),
    ),
    "a person regenerated one": (world(P1, replace(S1, is_current=False)), Store(SECONDARY)),
    "the vault lacks the secondary key": (KeyWorld(NOW, {PRIMARY: P1}), Store(SECONDARY)),
    "the vault is empty": (KeyWorld(NOW, {}), Store(PRIMARY)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_step(case: str) -> None:
    given, expected = CASES[case]

    assert decide_keys(given, PROPAGATION) == expected


def test_a_whole_rotation_changes_one_key_at_a_time() -> None:
    current, changed = world(requested=BOTH), list[tuple[Kind, float]]()
    for _ in range(20):
        match step := decide_keys(current, PROPAGATION):
            case KeyWait(until):
                current = replace(current, now=until)
            case Regenerate(kind):
                changed.append((kind, current.now))
                current = replace(current, held={**current.held, kind: replace(current.held[kind], is_current=False)})
            case Store(kind):
                key = HeldKey(f"{kind}-{current.now}", current.now, is_current=True)
                current = replace(current, held={**current.held, kind: key})
            case Finish():
                break
    assert step == Finish()
    assert [kind for kind, _ in changed] == [SECONDARY, PRIMARY]
    assert changed[1][1] - changed[0][1] >= PROPAGATION
