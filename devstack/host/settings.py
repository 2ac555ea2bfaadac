"""The two files that configure an app: ``local.settings.json`` and ``host.json``.

Their format is documented at https://learn.microsoft.com/azure/azure-functions/functions-develop-local and
https://learn.microsoft.com/azure/azure-functions/functions-host-json.
"""

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devstack.host.errors import HostError

DEFAULT_PORT = 7071
DEFAULT_TIMEOUT = 30 * 60.0

# 2.00:30:00, 00:05:00, 00:05 or 00:00:01.5: the usual forms of .NET's TimeSpan.
_TIMESPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?")

_LOG_LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "information": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "none": "CRITICAL",
}


@dataclass(frozen=True)
class LocalSettings:
    """``local.settings.json``: the app's settings, and those of the local host."""

    values: Mapping[str, str] = field(default_factory=dict)
    port: int = DEFAULT_PORT
    cors: tuple[str, ...] = ()
    cors_credentials: bool = False


@dataclass(frozen=True)
class HostJson:
    """``host.json``, as far as this host supports it. ``timeout`` is in seconds, None for no limit."""

    route_prefix: str = "api"
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = DEFAULT_TIMEOUT
    log_level: str = "INFO"


def read_local_settings(file: Path) -> LocalSettings:
    """Read ``local.settings.json``; a missing file is like an empty one.

    Raises:
        HostError: the file is damaged, or encrypted.
    """
    content = _read_object(file)
    if content.get("IsEncrypted"):
        raise HostError(
            f"{file.name} is encrypted, which this host cannot read:"
            " run `func settings decrypt`, or set IsEncrypted to false and write plain values"
        )
    host = _section(file, content, "Host")
    return LocalSettings(
        values=_setting_values(file, _section(file, content, "Values")),
        port=_port(file, host.get("LocalHttpPort", DEFAULT_PORT)),
        cors=split_origins(str(host.get("CORS") or "")),
        cors_credentials=_is_true(host.get("CORSCredentials", False)),
    )


def read_host_json(file: Path) -> HostJson:
    """Read ``host.json``; a missing file is like an empty one.

    Raises:
        HostError: the file is damaged, of another version, or contains an invalid value.
    """
    if not file.exists():
        return HostJson()
    content = _read_object(file)
    if content.get("version") != "2.0":
        raise HostError(f'{file.name} has no supported version: write "version": "2.0" into it')
    http = _section(file, _section(file, content, "extensions"), "http")
    levels = _section(file, _section(file, content, "logging"), "logLevel")
    return HostJson(
        route_prefix=str(http.get("routePrefix", "api")).strip("/"),
        custom_headers={
            name: str(value) for name, value in _section(file, http, "customHeaders").items() if value is not None
        },
        timeout=_timeout(file, content.get("functionTimeout")),
        log_level=_log_level(levels),
    )


def apply_values(values: Mapping[str, str], environment: MutableMapping[str, str]) -> None:
    """Set environment variables from settings. A variable that is already set takes precedence."""
    for name, value in values.items():
        environment.setdefault(name, value)


def split_origins(text: str) -> tuple[str, ...]:
    """Split the comma-separated origins of CORS."""
    return tuple(origin.strip().rstrip("/") for origin in text.split(",") if origin.strip())


def parse_timespan(text: str) -> float:
    """The seconds of a .NET TimeSpan such as ``00:05:00`` or ``1.12:00:00``.

    Raises:
        ValueError: the text is not a TimeSpan.
    """
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a time span: write hh:mm:ss")
    sign, days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        raise ValueError(f"'{text}' is not a time span: hours go to 23, minutes and seconds to 59")
    total = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return (total + float(fraction or 0)) * (-1 if sign else 1)


def _log_level(levels: Mapping[str, Any]) -> str:
    """The level of functions' log records: that of the category ``Function``, or else the default one."""
    name = levels.get("Function", levels.get("default", "Information"))
    return _LOG_LEVELS.get(str(name).lower(), "INFO")


def _timeout(file: Path, value: Any) -> float | None:
    if value is None:
        return DEFAULT_TIMEOUT
    if str(value) == "-1":
        return None
    try:
        seconds = parse_timespan(str(value))
    except ValueError as error:
        raise HostError(f"{file.name}: functionTimeout: {error}") from None
    if seconds <= 0:
        raise HostError(f"{file.name}: functionTimeout must be more than zero, or -1 for no limit")
    return seconds


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig") or "{}")
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise HostError(f"{file.name} is not valid JSON: {error.msg} in line {error.lineno}: correct it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise HostError(f"{file.name} must be a JSON object: write {{...}}")
    return content


def _section(file: Path, content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise HostError(f"{file.name}: {name} must be an object: write {{...}}")
    return section


def _setting_values(file: Path, values: Mapping[str, Any]) -> dict[str, str]:
    settings = {}
    for name, value in values.items():
        if isinstance(value, dict | list):
            raise HostError(f"{file.name}: the setting {name} must be a string, not a list or an object")
        if value is not None:
            settings[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return settings


def _port(file: Path, value: Any) -> int:
    try:
        port = int(value)
    except (TypeError, ValueError):
        port = -1
    if not 0 <= port <= 65535:
        raise HostError(f"{file.name}: Host.LocalHttpPort must be a port number from 0 to 65535")
    return port


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"
