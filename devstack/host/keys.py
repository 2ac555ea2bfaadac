"""The access keys of functions and of the host, enforced with ``--enable-auth``.

Which key allows what: https://learn.microsoft.com/azure/azure-functions/function-keys-how-to.
"""

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from devstack.files import write_atomically
from devstack.host.errors import HostError
from devstack.host.functions import Function

_HEADER = b"x-functions-key"


@dataclass(frozen=True)
class FunctionKeys:
    """The keys of one app: the master key for everything, the default one for every function, and one per function.

    ``system`` is the key of the Event Grid webhook.
    """

    master: str
    default: str
    system: str
    functions: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<FunctionKeys of {len(self.functions)} functions>"

    def admits(self, function: Function, headers: Mapping[bytes, bytes], query: bytes) -> bool:
        """Whether a request may call a function."""
        level = function.auth_level
        if level == "anonymous":
            return True
        allowed = [self.master]
        if level == "function":
            allowed += [self.default, self.functions.get(function.name, self.master)]
        return _is_one_of(_given(headers, query), allowed)

    def admits_admin(self, headers: Mapping[bytes, bytes], query: bytes) -> bool:
        """Whether a request may use ``/admin``."""
        return _is_one_of(_given(headers, query), [self.master])

    def admits_webhook(self, headers: Mapping[bytes, bytes], query: bytes) -> bool:
        """Whether a request may deliver events."""
        return _is_one_of(_given(headers, query), [self.system, self.master])


def load_keys(file: Path, names: Iterable[str]) -> FunctionKeys:
    """Read the keys of an app, and make those that are missing. Only the file's owner can read it.

    Raises:
        HostError: the file is damaged, or cannot be written.
    """
    stored = _read(file)
    own = stored.get("functions") or {}
    keys = FunctionKeys(
        master=stored.get("master") or _new_key(),
        default=stored.get("default") or _new_key(),
        system=stored.get("eventgrid_extension") or _new_key(),
        functions={**own, **{name: own.get(name) or _new_key() for name in names}},
    )
    content = {
        "master": keys.master,
        "default": keys.default,
        "eventgrid_extension": keys.system,
        "functions": dict(keys.functions),
    }
    if content != stored:
        _write(file, content)
    return keys


def _given(headers: Mapping[bytes, bytes], query: bytes) -> bytes:
    if _HEADER in headers:
        return headers[_HEADER]
    pairs = dict(parse_qsl(query.decode("latin-1"), encoding="latin-1"))
    return pairs.get("code", "").encode("latin-1")


def _is_one_of(given: bytes, keys: Iterable[str]) -> bool:
    # Every key is compared, each in constant time, so that the duration reveals nothing.
    return bool(sum([hmac.compare_digest(given, key.encode()) for key in keys]))


def _new_key() -> str:
    return secrets.token_urlsafe(40)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"the keys in {file} cannot be read ({error}): delete the file to make new ones") from None
    if not isinstance(content, dict):
        raise HostError(f"{file} contains no keys: delete the file to make new ones")
    return content


def _write(file: Path, content: Mapping[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(content, indent=2).encode() + b"\n")
    except OSError as error:
        raise HostError(
            f"the keys cannot be written to {file} ({error.strerror}): name a file with --keys-file"
        ) from None
