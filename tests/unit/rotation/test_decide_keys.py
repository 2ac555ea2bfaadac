"""The next step of a key rotation: a table of named cases, and a complete rotation."""

from dataclasses import replace

import pytest

from shared.rotation.decide_keys import (
    Finish,
    KeyKind,
    KeysSettled,
    KeyStep,
    KeyWait,
    ObservedKeys,
    Regenerate,
    Store,
    StoredKey,
    decide_keys,
)

PRIMARY, SECONDARY = KeyKind.PRIMARY, KeyKind.SECONDARY
NOW, PROPAGATION = 1000.0, 10.0
P1, S1 = StoredKey("p1", 100, is_current=True), StoredKey("s1", 100, is_current=True)
BOTH = {PRIMARY: "p1", SECONDARY: "s1"}


def observed(
    primary: StoredKey = P1, secondary: StoredKey = S1, requested: dict[KeyKind, str] | None = None
) -> ObservedKeys:
    return ObservedKeys(NOW, {PRIMARY: primary, SECONDARY: secondary}, requested)


CASES: dict[str, tuple[ObservedKeys, KeyStep]] = {
    "nothing to do": (observed(), KeysSettled()),
    "requested, both created together": (observed(requested=BOTH), Regenerate(SECONDARY)),
    "requested, the secondary is in use": (observed(P1, replace(S1, created=200), BOTH), Regenerate(PRIMARY)),
    "requested, the primary is in use": (observed(replace(P1, created=200), S1, BOTH), Regenerate(SECONDARY)),
    "requested, a key was changed recently": (observed(replace(P1, created=995), S1, BOTH), KeyWait(1005)),
    "crashed after the regeneration": (observed(P1, replace(S1, is_current=False), BOTH), Store(SECONDARY)),
    "the first was replaced recently": (observed(P1, StoredKey("s2", 995, is_current=True), BOTH), KeyWait(1005)),
    "the first was replaced long ago": (
        observed(P1, StoredKey("s2", 990, is_current=True), BOTH),
        Regenerate(PRIMARY),
    ),
    "the first was replaced in the same second in which the other was created": (
        observed(P1, StoredKey("s2", 100, is_current=True), BOTH),
        Regenerate(PRIMARY),
    ),
    "both were replaced": (
        observed(StoredKey("p2", 999, is_current=True), StoredKey("s2", 980, is_current=True), BOTH),
        Finish(),
    ),
    "both were regenerated manually": (
        observed(replace(P1, is_current=False), replace(S1, is_current=False)),
        Store(PRIMARY),
    ),
    "one was regenerated manually": (observed(P1, replace(S1, is_current=False)), Store(SECONDARY)),
    "the vault lacks the secondary key": (ObservedKeys(NOW, {PRIMARY: P1}), Store(SECONDARY)),
    "the vault is empty": (ObservedKeys(NOW, {}), Store(PRIMARY)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_step_of_each_case(case: str) -> None:
    keys, expected = CASES[case]

    assert decide_keys(keys, PROPAGATION) == expected


def test_a_complete_rotation_changes_one_key_at_a_time() -> None:
    current, changed = observed(requested=BOTH), list[tuple[KeyKind, float]]()
    for _ in range(20):
        match step := decide_keys(current, PROPAGATION):
            case KeyWait(until):
                current = replace(current, now=until)
            case Regenerate(kind):
                changed.append((kind, current.now))
                current = replace(
                    current, stored={**current.stored, kind: replace(current.stored[kind], is_current=False)}
                )
            case Store(kind):
                key = StoredKey(f"{kind}-{current.now}", current.now, is_current=True)
                current = replace(current, stored={**current.stored, kind: key})
            case Finish():
                break
    assert step == Finish()
    assert [kind for kind, _ in changed] == [SECONDARY, PRIMARY]
    assert changed[1][1] - changed[0][1] >= PROPAGATION


def test_the_other_key() -> None:
    assert [kind.other for kind in KeyKind] == [SECONDARY, PRIMARY]
