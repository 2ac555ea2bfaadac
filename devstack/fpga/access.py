"""Who may call: a primary and a secondary key, either of which opens the service."""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

KeyName = Literal["primary", "secondary"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys. One is exchanged while callers use the other, so that no call is refused."""

    primary: str
    secondary: str

    def __post_init__(self) -> None:
        for name, key in (("primary", self.primary), ("secondary", self.secondary)):
            if not key or not key.isascii() or not key.isprintable():
                raise ValueError(f"the {name} key must be printable ASCII and not empty")

    def __repr__(self) -> str:
        return "<Keys>"


def parse(data: bytes) -> Keys:
    """Read ``{"primaryKey": ..., "secondaryKey": ...}``, the form in which the control plane hands keys out.

    Raises:
        ValueError: the data is something else; the message repeats no key.
    """
    try:
        document = json.loads(data)
        primary, secondary = document["primaryKey"], document["secondaryKey"]
    except (ValueError, KeyError, TypeError):
        raise ValueError('expected {"primaryKey": "...", "secondaryKey": "..."}') from None
    if not isinstance(primary, str) or not isinstance(secondary, str):
        raise ValueError("both keys must be strings")
    return Keys(primary, secondary)


class KeyRing:
    """The keys in force; ``source``, where there is one, is asked before each look for keys that replace them."""

    def __init__(self, keys: Keys, source: Callable[[], Keys | None] | None = None) -> None:
        self._keys = keys
        self._source = source

    def set(self, keys: Keys) -> None:
        """Put other keys in force, from the next call on."""
        self._keys = keys

    def match(self, presented: str) -> KeyName | None:
        """Which key this is. Takes as long for a wrong key as for a right one."""
        if self._source and (replaced := self._source()):
            self._keys = replaced
        given = presented.encode()
        primary = hmac.compare_digest(given, self._keys.primary.encode())
        secondary = hmac.compare_digest(given, self._keys.secondary.encode())
        if primary:
            return "primary"
        return "secondary" if secondary else None
