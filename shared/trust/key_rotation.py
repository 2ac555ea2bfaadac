"""Key rotation: from the keys as they are to the one next step. Decisions alone, as in :mod:`shared.trust.rotation`.

The service has the last word on its keys, and Key Vault follows; the gateways try the key first that was stored last.
A request to rotate names the versions that are to be replaced. Where K is a key of them, and O the other one:

    a key of the service is not in Key Vault     Store it: somebody regenerated it, or a tick died after it did
    no request                                   Nothing
    a key was stored just now                    Wait, until every gateway must have read it and uses it
    both are to be replaced                      Regenerate the one that is not in use: the one stored earlier
    one is to be replaced                        Regenerate it; the other is the one in use by now
    both have been replaced                      Finish

So the two never change at once: between them lies the time in which every gateway takes the new one into use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Which of a service's two keys."""

    PRIMARY = "primary"
    SECONDARY = "secondary"

    @property
    def other(self) -> "Kind":
        return Kind.SECONDARY if self is Kind.PRIMARY else Kind.PRIMARY


@dataclass(frozen=True)
class HeldKey:
    """A key in Key Vault: its version, when that was stored (Unix seconds), and whether it is the service's."""

    version: str
    created: float
    is_current: bool


@dataclass(frozen=True)
class KeyWorld:
    """What a tick observed of one service's keys at the time ``now``.

    ``held`` lacks what Key Vault lacks. ``requested`` holds the versions that are to be replaced; None where no
    rotation is under way.
    """

    now: float
    held: Mapping[Kind, HeldKey]
    requested: Mapping[Kind, str] | None = None


@dataclass(frozen=True)
class KeysSettled:
    """All is as it should be."""


@dataclass(frozen=True)
class KeyWait:
    """Nothing to do before ``until``."""

    until: float


@dataclass(frozen=True)
class Store:
    """Take the service's key over into Key Vault."""

    kind: Kind


@dataclass(frozen=True)
class Regenerate:
    """Have a key generated anew, after it was proven that the other one opens the service."""

    kind: Kind


@dataclass(frozen=True)
class Finish:
    """Both keys have been replaced: forget the request."""


type KeyStep = KeysSettled | KeyWait | Store | Regenerate | Finish


def decide_keys(world: KeyWorld, propagation: float) -> KeyStep:
    """The one next step; ``propagation`` is the seconds until every gateway has read a new key."""
    for kind in Kind:
        held = world.held.get(kind)
        if held is None or not held.is_current:
            return Store(kind)
    if world.requested is None:
        return KeysSettled()
    primary, secondary = world.held[Kind.PRIMARY], world.held[Kind.SECONDARY]
    stale = [kind for kind in Kind if world.requested.get(kind) == world.held[kind].version]
    if not stale:
        return Finish()
    until = max(primary.created, secondary.created) + propagation
    if world.now < until:
        return KeyWait(until)
    in_use = Kind.SECONDARY if secondary.created > primary.created else Kind.PRIMARY
    return Regenerate(in_use.other if in_use.other in stale else stale[0])
