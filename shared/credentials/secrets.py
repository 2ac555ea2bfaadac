"""Secrets of Key Vault as values, without the SDK that reads them: cheap to import at a cold start."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Version:
    """A version of a secret. Times are Unix seconds, which Key Vault rounds down to whole ones."""

    id: str
    created: float
    enabled: bool = True
    expires: float | None = None


@dataclass(frozen=True)
class Secret:
    """A version of a secret with its value."""

    value: str = field(repr=False)
    version: str
    created: float


class _Stored(Protocol):
    @property
    def created(self) -> float: ...


def newest_first[T: _Stored](keys: Iterable[T | None]) -> list[T]:
    """A service's keys in the order in which they are tried: the one that was stored last first.

    So a rotation takes a new key into use by storing it, and can then replace the other. Of two keys that were stored
    in the same second the one that was passed first, the primary, comes first. Missing ones are left out.
    """
    return sorted((key for key in keys if key is not None), key=lambda key: -key.created)
