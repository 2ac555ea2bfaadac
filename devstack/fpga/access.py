"""The check of a caller's key."""

import hmac
from collections.abc import Callable
from typing import Literal

from devstack.keys import Keys

KeyName = Literal["primary", "secondary"]


class KeyRing:
    """The current keys; ``source``, if there is one, is called before each check for keys that replace them."""

    def __init__(self, keys: Keys, source: Callable[[], Keys | None] | None = None) -> None:
        self._keys = keys
        self._source = source

    def set(self, keys: Keys) -> None:
        """Replace the keys, from the next call on."""
        self._keys = keys

    def match(self, key: str) -> KeyName | None:
        """Which key this is. A wrong key takes as long as a valid one."""
        if self._source and (replaced := self._source()):
            self._keys = replaced
        given = key.encode()
        primary = hmac.compare_digest(given, self._keys.primary.encode())
        secondary = hmac.compare_digest(given, self._keys.secondary.encode())
        if primary:
            return "primary"
        return "secondary" if secondary else None
