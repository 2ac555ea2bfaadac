"""Where Application Insights takes telemetry, and by which identity: variables that its users set for the host, too.

https://learn.microsoft.com/azure/azure-monitor/app/connection-strings
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.settings.reader import Kind, Reader, setting

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ENDPOINT = "https://dc.services.visualstudio.com"
_AUDIENCE = "https://monitor.azure.com/"
_CLIENT_ID = re.compile(r"[0-9A-Za-z-]{0,100}")


@dataclass(frozen=True)
class Connection:
    """What a connection string says: the instrumentation key, the ingestion endpoint, whom tokens are for."""

    key: str
    endpoint: str
    audience: str = _AUDIENCE


@dataclass(frozen=True)
class Authentication:
    """By which identity telemetry is sent; the one that reads Key Vault without a ``client_id``."""

    client_id: str = ""


def _members(text: str) -> Mapping[str, str] | None:
    """The members of ``Name=value;...``, by their names in lower case; None where it has another form."""
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if len(text) > 4096 or not all(separator for _, separator, _ in parts):
        return None
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _read_connection(reader: Reader, key: str, default: Connection) -> Connection:
    text = reader.text(key)
    found = _members(text)
    # The value is never repeated: whoever has the key may send telemetry.
    if not text:
        reader.fault(key, "is missing: the connection string of the Application Insights resource is needed")
    elif not found or not _KEY.fullmatch(found.get("instrumentationkey", "")):
        reader.fault(key, "is not InstrumentationKey=...;IngestionEndpoint=https://...: copy it from the resource")
    elif not _is_safe(endpoint := _endpoint(found)):
        reader.fault(key, "has an IngestionEndpoint that is not an https address: the key could be read")
    else:
        return Connection(found["instrumentationkey"], endpoint, found.get("aadaudience") or _AUDIENCE)
    return default


def _endpoint(found: Mapping[str, str]) -> str:
    """The ingestion endpoint: as it is given, or made of the cloud's suffix and the region."""
    suffix, location = found.get("endpointsuffix"), found.get("location")
    made = f"https://{f'{location}.' if location else ''}dc.{suffix}" if suffix else _ENDPOINT
    return (found.get("ingestionendpoint") or made).rstrip("/")


def _is_safe(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _read_authentication(reader: Reader, key: str, default: Authentication | None) -> Authentication | None:
    text = reader.text(key)
    if not text:
        return default
    found = _members(text) or {}
    client_id = found.get("clientid", "")
    if found.get("authorization", "").upper() == "AAD" and _CLIENT_ID.fullmatch(client_id):
        return Authentication(client_id)
    reader.fault(key, "is not Authorization=AAD, or ClientId=...;Authorization=AAD for a user-assigned identity")
    return default


@dataclass(frozen=True)
class InsightsSettings:
    """An Application Insights resource; read where ``TELEMETRY`` names it."""

    connection: Connection = setting(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        Kind(_read_connection),
        Connection("", ""),
        "the resource; the platform sets it, which alone turns nothing on",
        shown="",
        in_repr=False,
    )
    authentication: Authentication | None = setting(
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        Kind(_read_authentication),
        None,
        "`Authorization=AAD` sends with the identity that reads Key Vault, `ClientId=...;` before it with another",
        shown="",
    )
