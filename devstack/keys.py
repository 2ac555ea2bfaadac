"""The two keys of an FPGA service, and the JSON form in which the control plane returns them."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Either key allows all calls, so that one can be replaced while callers use the other."""

    primary: str
    secondary: str

    def __post_init__(self) -> None:
        for name, key in (("primary", self.primary), ("secondary", self.secondary)):
            if not key or not key.isascii() or not key.isprintable():
                raise ValueError(f"the {name} key must be printable ASCII and not empty")

    def __repr__(self) -> str:
        return "<Keys>"


def parse_keys(data: bytes) -> Keys:
    """Parse ``{"primaryKey": ..., "secondaryKey": ...}``.

    Raises:
        ValueError: the data is something else; the message contains no key.
    """
    try:
        document = json.loads(data)
        primary, secondary = document["primaryKey"], document["secondaryKey"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('expected {"primaryKey": "...", "secondaryKey": "..."}') from None
    if not isinstance(primary, str) or not isinstance(secondary, str):
        raise ValueError("both keys must be strings")
    return Keys(primary, secondary)
