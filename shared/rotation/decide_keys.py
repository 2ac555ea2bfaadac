"""Key rotation: from the observed keys to the one next step. Decisions alone, as in :mod:`shared.rotation.decide`.

The service decides which keys are valid, and Key Vault follows; gateways try the key first that was stored last. A
request to rotate names the versions that are to be replaced:

    a key of the service is not in Key Vault     Store it: somebody regenerated it, or a run died after it did
    no request                                   Nothing
    a key was stored recently                    Wait, until every gateway must have read it and uses it
    both are to be replaced                      Regenerate the one that is not in use: the one stored earlier
    one is to be replaced                        Regenerate it; the other is in use by now
    both have been replaced                      Finish

So the two never change at once: between them is the time in which every gateway starts to use the new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.credentials.secrets import newest_first


class KeyKind(StrEnum):
    """Which of a service's two keys."""

    PRIMARY = "primary"
    SECONDARY = "secondary"

    @property
    def other(self) -> "KeyKind":
        return KeyKind.SECONDARY if self is KeyKind.PRIMARY else KeyKind.PRIMARY


@dataclass(frozen=True)
class StoredKey:
    """A key in Key Vault: its version, when that was stored (Unix seconds), and whether the service accepts it."""

    version: str
    created: float
    is_current: bool


@dataclass(frozen=True)
class ObservedKeys:
    """What a run observed of one service's keys at the time ``now``.

    ``stored`` lacks the keys that Key Vault lacks. ``requested`` has the versions that are to be replaced; None where
    no rotation is in progress.
    """

    now: float
    stored: Mapping[KeyKind, StoredKey]
    requested: Mapping[KeyKind, str] | None = None


@dataclass(frozen=True)
class KeysSettled:
    """All is as it should be."""


@dataclass(frozen=True)
class KeyWait:
    """Nothing to do before ``until``."""

    until: float


@dataclass(frozen=True)
class Store:
    """Copy the service's key into Key Vault."""

    kind: KeyKind


@dataclass(frozen=True)
class Regenerate:
    """Regenerate a key, after it was proven that the service accepts the other one."""

    kind: KeyKind


@dataclass(frozen=True)
class Finish:
    """Both keys have been replaced: forget the request."""


type KeyStep = KeysSettled | KeyWait | Store | Regenerate | Finish


def decide_keys(keys: ObservedKeys, propagation: float) -> KeyStep:
    """The one next step; ``propagation`` is the seconds until every gateway has read a new key."""
    for kind in KeyKind:
        stored = keys.stored.get(kind)
        if stored is None or not stored.is_current:
            return Store(kind)
    if keys.requested is None:
        return KeysSettled()
    stale = [kind for kind in KeyKind if keys.requested.get(kind) == keys.stored[kind].version]
    if not stale:
        return Finish()
    in_use = newest_first(keys.stored[kind] for kind in KeyKind)[0]
    until = in_use.created + propagation
    if keys.now < until:
        return KeyWait(until)
    unused = next(kind for kind in KeyKind if keys.stored[kind] is not in_use)
    return Regenerate(unused if unused in stale else stale[0])
