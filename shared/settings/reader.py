"""Reads typed values from app settings, and collects every fault instead of stopping at the first."""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

APP_ROOT = Path(__file__).resolve().parents[2]

SERVICE_PREFIX = "SERVICE__"

_SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# How alike two names are (difflib's ratio) for one to be taken for a misspelling of the other.
_ALIKE = 0.85


class Kind[T](NamedTuple):
    """How a setting's text becomes a value, and what it may be, in words for the documentation.

    ``read`` is called with the reader, the setting's key and its default; ``default`` is for the documentation, where
    the value depends on the service.
    """

    read: "Callable[[Reader, str, T], T]"
    allowed: str = ""
    default: str = ""


class Setting(NamedTuple):
    """One setting: its name (below the service's prefix, for a service's own), kind and meaning.

    ``default`` is its text for the documentation.
    """

    key: str
    kind: Kind[Any]
    meaning: str
    default: str = ""


_METADATA = "setting"


def setting[T](
    key: str, kind: Kind[T], default: T, meaning: str, *, shown: str | None = None, in_repr: bool = True
) -> T:
    """A dataclass field that is read from a setting; ``shown`` replaces the default in the documentation."""
    about = Setting(key, kind, meaning, kind.default or str(default) if shown is None else shown)
    return field(default=default, repr=in_repr, metadata={_METADATA: about})


def settings_of(schema: "type[DataclassInstance]") -> list[Setting]:
    """The settings of a schema's fields, in their order."""
    return [one.metadata[_METADATA] for one in fields(schema) if _METADATA in one.metadata]


class Reader:
    """Reads the settings that begin with a prefix; the readers of several prefixes share their findings."""

    # prefix   what the names of the settings begin with
    # service  the name of the service whose settings are read; empty for the gateway's own
    # faults  sentences, each naming a setting
    # names   the settings that the faults are about
    # known   the names of all settings that exist, read or not

    def __init__(
        self, environ: Mapping[str, str], prefix: str = "", service: str = "", parent: "Reader | None" = None
    ) -> None:
        self._environ = environ
        self.prefix = prefix
        self.service = service
        self.faults: list[str] = parent.faults if parent else []
        self.names: list[str] = parent.names if parent else []
        self.known: set[str] = parent.known if parent else set()

    def within(self, prefix: str, service: str = "") -> "Reader":
        """A reader of the settings of a service, or of another group, that begin with a prefix."""
        return Reader(self._environ, prefix, service, self)

    def read[T: "DataclassInstance"](self, schema: type[T], **given: Any) -> T:
        """An instance of a schema: fields that are not given are read from their settings."""
        values = dict(given)
        for one in fields(schema):
            about: Setting | None = one.metadata.get(_METADATA)
            if about is not None and one.name not in given:
                default = None if one.default is MISSING else one.default
                values[one.name] = about.kind.read(self, about.key, default)
        return schema(**values)

    def declare(self, schema: "type[DataclassInstance]") -> None:
        """Count a schema's settings as known, though they are not read."""
        self.known.update(self.prefix + one.key for one in settings_of(schema))

    def fault(self, key: str, what: str) -> None:
        name = self.prefix + key
        self.names.append(name)
        self.faults.append(f"{name} {what}")

    def text(self, key: str, default: str = "") -> str:
        name = self.prefix + key
        self.known.add(name)
        return self._environ.get(name, "").strip() or default

    def system(self, name: str) -> str:
        """A variable that the platform sets, and no setting of the gateway."""
        return self._environ.get(name, "").strip()

    def check_unknown(self) -> None:
        """Find misspelled settings: a service's that nothing reads, and names that resemble an unset setting's."""
        unlisted: defaultdict[str, list[str]] = defaultdict(list)
        for name in sorted(self._environ):
            # OpenTelemetry's others are for the Functions host.
            if name in self.known or name.startswith("OTEL_"):
                continue
            if name.startswith(SERVICE_PREFIX):
                own = name.rpartition("__")[0]
                if own.upper() in self._listed():
                    meant = self._meant_of_service(name)
                    self._unknown(
                        name, f"is not known; {meant} may be meant" if meant else "is no setting of a service"
                    )
                else:
                    unlisted[own].append(name)
            elif meant := self._meant(name):
                self._unknown(name, f"is not known; {meant} may be meant")
        for own, names in unlisted.items():
            self._unlisted(own.removeprefix(SERVICE_PREFIX).lower().replace("_", "-"), names)

    def _unlisted(self, service: str, names: list[str]) -> None:
        """One fault for all settings of a service: what is wrong is one name."""
        self.names += names
        others = f" and {len(names) - 1} more of that service are" if len(names) > 1 else " is"
        self.faults.append(f"{names[0]}{others} not known: SERVICES does not list {service[:63]!r}")

    def _listed(self) -> set[str]:
        """What the names of the listed services' settings begin with, without the last underscores."""
        return {name.rpartition("__")[0] for name in self.known if name.startswith(SERVICE_PREFIX)}

    def _meant_of_service(self, name: str) -> str:
        """The setting of the same service whose misspelling a name is; empty where there is none."""
        import difflib  # noqa: PLC0415 - as below

        own, separator, key = name.upper().rpartition("__")
        keys = [
            known.removeprefix(own + separator) for known in sorted(self.known) if known.startswith(own + separator)
        ]
        return next((f"{own}{separator}{one}" for one in difflib.get_close_matches(key, keys, 1)), "")

    def _unknown(self, name: str, what: str) -> None:
        self.names.append(name)
        self.faults.append(f"{name} {what}")

    def _meant(self, name: str) -> str:
        """The unset setting whose misspelling a name seems to be; empty where there is none.

        Other variables of the environment are not the gateway's concern, so only close resemblance counts.
        """
        unset = [one for one in self._global_settings() if one not in self._environ and one[:4] == name[:4].upper()]
        if not unset:
            return ""
        import difflib  # noqa: PLC0415 - hardly any environment has such a name

        cut_off = [one for one in unset if one.startswith(f"{name.upper()}_")]
        return next(iter([*cut_off, *difflib.get_close_matches(name.upper(), unset, 1, _ALIKE)]), "")

    def _global_settings(self) -> Iterator[str]:
        return (name for name in sorted(self.known) if not name.startswith(SERVICE_PREFIX))


# --- Kinds ----------------------------------------------------------------------------------------------------------


def _read_text(reader: Reader, key: str, default: str) -> str:
    return reader.text(key, default)


TEXT = Kind(_read_text)


def required(example: str) -> Kind[str]:
    """Text that must be set."""

    def read(reader: Reader, key: str, _default: str) -> str:
        value = reader.text(key)
        if not value:
            reader.fault(key, f"is missing: {example}")
        return value

    return Kind(read, "required")


_LABEL = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?")


def address(example: str) -> Kind[str]:
    """A host name or an IP address, or several IPv4 addresses with commas; it must be set."""

    def read(reader: Reader, key: str, default: str) -> str:
        value = required(example).read(reader, key, default)
        hosts = [part.strip() for part in value.split(",")]
        if value and (fault := _address_fault(hosts)):
            reader.fault(key, f"is {value[:100]!r}; {fault}")
        return value

    return Kind(read, "required")


def _address_fault(hosts: list[str]) -> str:
    """What is wrong with an address; empty where nothing is."""
    versions = [_ip_version(host) for host in hosts]
    for host, version in zip(hosts, versions, strict=True):
        if "/" in host:
            return "the host name alone is needed, without a scheme or a path"
        if not version and ":" in host:
            return "the port belongs into PORT, and an IPv6 address has no brackets"
        if not version and not _is_host_name(host):
            return "a host name or an IP address is needed"
    if len(hosts) > 1 and versions != [4] * len(hosts):
        return "several addresses must all be IPv4 addresses: a name with several addresses needs no list"
    return ""


def _is_host_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    # A name that ends with a number is an address with a mistake in it.
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()


def _ip_version(host: str) -> int:
    """4 or 6; 0 of what is no IP address."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def whole(low: int, high: int) -> Kind[int]:
    """A whole number in a range."""

    def read(reader: Reader, key: str, default: int) -> int:
        value = reader.text(key)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,12}", value) and low <= int(value) <= high:
            return int(value)
        reader.fault(key, f"is {value!r}; a whole number from {low} to {high} is needed")
        return default

    return Kind(read, f"{low} to {high}")


def seconds(low: int, high: int, *, per_second: int = 1) -> Kind[float]:
    """A time in seconds, set as a whole number of seconds, or of a smaller unit."""
    number = whole(low, high)

    def read(reader: Reader, key: str, default: float) -> float:
        return number.read(reader, key, int(default * per_second)) / per_second

    return Kind(read, number.allowed)


def choice[T: StrEnum](values: type[T]) -> Kind[T]:
    """One of the values of an enumeration."""

    def read(reader: Reader, key: str, default: T) -> T:
        value = reader.text(key)
        if not value:
            return default
        try:
            return values(value)
        except ValueError:
            reader.fault(key, f"is {value!r}; it is one of {', '.join(values)}")
            return default

    return Kind(read, " or ".join(f"`{one}`" for one in values))


def optional[T: StrEnum](values: type[T]) -> Kind[T | None]:
    """One of the values of an enumeration, or none."""
    one = choice(values)

    def read(reader: Reader, key: str, _default: T | None) -> T | None:
        return one.read(reader, key, next(iter(values))) if reader.text(key) else None

    return Kind(read, one.allowed)


class _YesNo(StrEnum):
    NO = "no"
    YES = "yes"
    FALSE = "false"
    TRUE = "true"


def _read_flag(reader: Reader, key: str, default: bool) -> bool:
    return _YES_NO.read(reader, key, _YesNo.YES if default else _YesNo.NO) in {_YesNo.YES, _YesNo.TRUE}


_YES_NO = choice(_YesNo)
FLAG = Kind(_read_flag, "`no` or `yes`; `false` or `true`")


def secret_name(default: str) -> Kind[str]:
    """The name of a Key Vault secret; in its default ``{name}`` stands for the service's name."""

    def read(reader: Reader, key: str, _default: str) -> str:
        value = reader.text(key, default.replace("{name}", reader.service))
        if not _SECRET_NAME.fullmatch(value):
            # The value is not repeated: somebody may have put the secret itself where its name belongs.
            reader.fault(key, "is not the name of a Key Vault secret: letters, digits and hyphens, 127 at most")
        return value

    return Kind(read, default=default)


def optional_secret_name() -> Kind[str]:
    """The name of a Key Vault secret, or none."""
    one = secret_name("")

    def read(reader: Reader, key: str, default: str) -> str:
        return one.read(reader, key, default) if reader.text(key) else ""

    return Kind(read)


# gRPC's own metadata and HTTP/2's headers cannot be set.
_METADATA_NAME = re.compile(r"(?!grpc-|te$|content-type$|user-agent$|host$|.*-bin$)[0-9a-z_.-]{1,100}")


def metadata_name() -> Kind[str]:
    """The name of gRPC metadata."""

    def read(reader: Reader, key: str, default: str) -> str:
        value = reader.text(key, default)
        if not _METADATA_NAME.fullmatch(value):
            reader.fault(key, f"is {value[:100]!r}; a name of metadata in lower case is needed, as in authorization")
        return value

    return Kind(read)


def pairs() -> Kind[tuple[tuple[str, str], ...]]:
    """Names and values of gRPC metadata, as in ``a=1, b=2``."""

    def read(reader: Reader, key: str, default: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        found = list(default)
        for part in filter(None, map(str.strip, reader.text(key).split(","))):
            name, separator, value = (one.strip() for one in part.partition("="))
            if separator and _METADATA_NAME.fullmatch(name) and value and value.isascii() and value.isprintable():
                found.append((name, value))
            else:
                # Not the value: somebody may have put a secret there.
                reader.fault(key, f"has {name[:40]!r}, which is not name=value with a lower-case name")
        return tuple(found)

    return Kind(read)


type Triple = tuple[float, float, float]


def triple(*, allow_zero: bool = True, presets: Mapping[str, Triple] | None = None) -> Kind[Triple]:
    """Three numbers with commas between them, or the name of a preset."""

    def read(reader: Reader, key: str, default: Triple) -> Triple:
        value = reader.text(key)
        if not value:
            return default
        if presets and value in presets:
            return presets[value]
        try:
            one, two, three = (float(part) for part in value.split(","))
        except ValueError:
            named = f", or one of {', '.join(presets)}" if presets else ""
            reader.fault(key, f"is {value!r}; three numbers with commas are needed, as in 127,127,127{named}")
            return default
        if not allow_zero and 0.0 in (one, two, three):
            reader.fault(key, f"is {value!r}; none of the three may be zero")
            return default
        return one, two, three

    return Kind(read)


def https(*, loopback_http: bool = False, example: str = "") -> Kind[str]:
    """An https address without a slash at its end; with ``loopback_http`` also http on loopback.

    With an example it must be set.
    """

    def read(reader: Reader, key: str, default: str) -> str:
        value = reader.text(key, default).rstrip("/")
        if not value and example:
            reader.fault(key, f"is missing: {example}")
        parts = urlsplit(value)
        is_local = loopback_http and parts.scheme == "http" and parts.hostname in _LOOPBACK
        if value and not (parts.hostname and (parts.scheme == "https" or is_local)):
            # The value is not repeated: a webhook's address is a secret.
            reader.fault(key, f"is not an https address{f', {example}' if example else ''}")
        return value

    return Kind(read, "required" if example else "")


def _read_file(reader: Reader, key: str, _default: str) -> str:
    value = reader.text(key)
    if not value:
        return ""
    path = APP_ROOT / value
    if not path.is_file():
        reader.fault(key, f"is {value!r}, which is not a file (a relative path starts at the app's folder)")
    return str(path)


FILE = Kind(_read_file)
