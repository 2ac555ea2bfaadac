"""Makes the certificates that the command puts into Key Vault: valid ones, and some that the rotation must refuse."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from devstack.authority import LOOPBACK_NAMES, Authority, Issued, issue_self_signed

OTHER_NAMES = ("elsewhere.example",)


class Kind(Enum):
    """What is wrong with a certificate, if anything."""

    VALID = auto()
    WRONG_KEY = auto()
    WRONG_NAME = auto()
    SELF_SIGNED = auto()


def make(authority: Authority, valid_for: dt.timedelta, kind: Kind, names: Sequence[str] = LOOPBACK_NAMES) -> Issued:
    """Issue a certificate of a kind, for ``names`` unless it is the names that are wrong."""
    match kind:
        case Kind.VALID:
            return authority.issue(names, valid_for=valid_for)
        case Kind.WRONG_KEY:
            return replace(authority.issue(names, valid_for=valid_for), key=authority.issue().key)
        case Kind.WRONG_NAME:
            return authority.issue(OTHER_NAMES, valid_for=valid_for)
        case Kind.SELF_SIGNED:
            return issue_self_signed(names, valid_for=valid_for)
