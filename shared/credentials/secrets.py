"""Secrets of Key Vault as values, without the SDK that reads them: cheap to import at a cold start."""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from shared.errors import InvalidKey

# What editors, shells and copying leave around a value.
_AROUND = "\ufeff" + string.whitespace


class Version(NamedTuple):
    """A version of a secret. Times are Unix seconds, which Key Vault rounds down to whole ones.

    ``updated`` is that of the last change of its properties.
    """

    id: str
    created: float
    enabled: bool = True
    expires: float | None = None
    updated: float = 0.0


@dataclass(frozen=True)
class Secret:
    """A version of a secret with its value."""

    value: str = field(repr=False)
    version: str
    created: float


def usable_keys(secrets: Mapping[str, Secret]) -> tuple[list[str], list[InvalidKey]]:
    """The keys in secrets, given by the secrets' names and the primary first, and what is wrong with the others.

    They are in the order in which they are tried, see :func:`newest_first`.

    Raises:
        InvalidKey: there is no usable one.
    """
    keys: list[str] = []
    faults: list[InvalidKey] = []
    for name in sorted(secrets, key=lambda name: -secrets[name].created):
        try:
            keys.append(_key(secrets[name], name))
        except InvalidKey as fault:
            faults.append(fault)
    if not keys:
        raise faults[0] if faults else InvalidKey("Key Vault has no key of the service.")
    return keys, faults


def _key(secret: Secret, name: str) -> str:
    """The key in a secret, without what is around it; it is never repeated in an error."""
    key = secret.value.strip(_AROUND)
    if not key:
        raise InvalidKey(f"The key in secret {name!r} is empty.", secret=name)
    # What gRPC's metadata, which carries it, can hold.
    if not (key.isascii() and key.isprintable()):
        raise InvalidKey(f"The key in secret {name!r} has characters other than printable ASCII.", secret=name)
    return key


class _Stored(Protocol):
    @property
    def created(self) -> float: ...


def newest_first[T: _Stored](keys: Iterable[T | None]) -> list[T]:
    """A service's keys in the order in which they are tried: the one that was stored last first.

    So a rotation takes a new key into use by storing it, and can then replace the other. Of two keys that were stored
    in the same second the one that was passed first, the primary, comes first. Missing ones are left out.
    """
    return sorted((key for key in keys if key is not None), key=lambda key: -key.created)
