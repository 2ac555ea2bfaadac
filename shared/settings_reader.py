"""Reads typed values out of app settings, and collects every fault instead of stopping at the first."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

APP_ROOT = Path(__file__).resolve().parent.parent

_SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class Reader:
    """Reads typed values; collects the faults instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str], start: str = "", parent: "Reader | None" = None) -> None:
        self._environ = environ
        self._start = start
        self.faults: list[str] = parent.faults if parent else []
        self.names: list[str] = parent.names if parent else []
        self.known: set[str] = parent.known if parent else set()

    def within(self, start: str) -> "Reader":
        return Reader(self._environ, start, self)

    def fault(self, key: str, what: str) -> None:
        name = self._start + key
        self.names.append(name)
        self.faults.append(f"{name} {what}")

    def text(self, key: str, default: str = "") -> str:
        name = self._start + key
        self.known.add(name)
        return self._environ.get(name, "").strip() or default

    def required(self, key: str, meaning: str) -> str:
        value = self.text(key)
        if not value:
            self.fault(key, f"is missing: {meaning}")
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self.text(key)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,12}", value) and low <= int(value) <= high:
            return int(value)
        self.fault(key, f"is {value!r}; a whole number from {low} to {high} is needed")
        return default

    def choice[T: StrEnum](self, key: str, kind: Callable[[str], T], default: T) -> T:
        value = self.text(key)
        if not value:
            return default
        try:
            return kind(value)
        except ValueError:
            self.fault(key, f"is {value!r}; it is one of {', '.join(type(default))}")
            return default

    def secret(self, key: str, default: str) -> str:
        value = self.text(key, default)
        if not _SECRET_NAME.fullmatch(value):
            # The value stays unsaid: somebody may have put the secret itself where its name belongs.
            self.fault(key, "is no name of a Key Vault secret: letters, digits and hyphens, 127 at most")
        return value

    def triple(
        self, key: str, default: tuple[float, float, float], *, allow_zero: bool = True
    ) -> tuple[float, float, float]:
        value = self.text(key)
        if not value:
            return default
        try:
            one, two, three = (float(part) for part in value.split(","))
        except ValueError:
            self.fault(key, f"is {value!r}; three numbers with commas are needed, as in 127,127,127")
            return default
        if not allow_zero and 0.0 in (one, two, three):
            self.fault(key, f"is {value!r}; none of the three may be zero")
            return default
        return one, two, three

    def https(self, key: str, default: str = "", *, loopback_http: bool = False) -> str:
        """An https address without a slash at its end; also http where it is on loopback and that is allowed."""
        value = self.text(key, default).rstrip("/")
        parts = urlsplit(value)
        is_local = loopback_http and parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if value and not (parts.hostname and (parts.scheme == "https" or is_local)):
            # The value stays unsaid: a webhook's address is a secret.
            self.fault(key, "is no https address")
        return value

    def file(self, key: str) -> str:
        value = self.text(key)
        if not value:
            return ""
        path = APP_ROOT / value
        if not path.is_file():
            self.fault(key, f"is {value!r}, which is no file (a relative path starts at the app's folder)")
        return str(path)

    def check_service_keys(self) -> None:
        """A setting that nothing reads is a misspelled one."""
        for name in self._unread():
            self.names.append(name)
            self.faults.append(f"{name} is not known: it is misspelled, or SERVICES does not list its service")

    def _unread(self) -> Iterator[str]:
        return (name for name in sorted(self._environ) if name.startswith("SERVICE__") and name not in self.known)
