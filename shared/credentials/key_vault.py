"""Key Vault: reads and writes secrets with the gateway's identity, and names the cause where it cannot.

The synchronous clients, for use in a thread: importing them takes half the time of the asynchronous ones, which a cold
start waits for. Import this module late for the same reason.
"""

import datetime as dt
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient, SecretProperties
from urllib3.exceptions import NameResolutionError

from shared.control_plane.identity import Identity
from shared.control_plane.transport import causes_of
from shared.credentials.secrets import Secret, Version
from shared.errors import (
    GatewayError,
    SecretDisabled,
    SecretMissing,
    TokenExpired,
    VaultFirewalled,
    VaultForbidden,
    VaultNotFound,
    VaultPrivate,
    VaultRejected,
    VaultThrottled,
    VaultUnreachable,
    VaultUntrusted,
    WrongTenant,
)
from shared.settings import IdentityKind, VaultSettings

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

# A failure is returned at once; the caller decides when to retry, and uses the last snapshot meanwhile.
# Redirects would take tokens and secrets to wherever a response points.
_NO_RETRIES: dict[str, Any] = {"retry_total": 0, "permit_redirects": False}
# Seconds of one request, for a token or a secret: to connect, and without a byte of the response. The SDK's own are
# five minutes.
_TIMEOUTS: dict[str, Any] = {"connection_timeout": 2, "read_timeout": 3}

# Seconds for Retry-After where Key Vault states none.
_RETRY_AFTER = 5.0

# What the SDK raises for a response that is not Key Vault's: a page of a proxy, or JSON of another form.
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)

# The SDKs log each request's address and headers, and each failed token request, at INFO and WARNING.
for _name in ("azure.core", "azure.identity", "azure.keyvault", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class KeyVault:
    """Reads and writes secrets; safe to use from several threads.

    Each method raises IdentityUnavailable, VaultUnreachable, VaultThrottled, VaultForbidden, SecretMissing or
    SecretDisabled, by the cause.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._identity = Identity(credential(settings))
        self._client = SecretClient(settings.url, self._identity, **_transport(settings), **_NO_RETRIES, **_TIMEOUTS)

    def read(self, name: str, version: str | None = None) -> Secret:
        """A version of a secret; the latest when none is named."""

        def get() -> Secret:
            found = self._client.get_secret(name, version)
            properties = _version(found.properties)
            return Secret(found.value or "", properties.id, properties.created)

        try:
            secret = self._call(name, get, again=True)
        except SecretDisabled:
            if version is None:
                raise
            raise SecretDisabled(f"The version {version} of secret {name!r} is disabled.", secret=name) from None
        if not secret.value:
            raise SecretMissing(f"The secret {name!r} is empty.", secret=name)
        return secret

    def read_enabled(self, name: str) -> Secret:
        """The latest enabled version; SecretDisabled where none is enabled."""
        try:
            return self.read(name)
        except SecretDisabled:
            enabled = next((version for version in self.versions(name) if version.enabled), None)
            if enabled is None:
                raise SecretDisabled(f"All versions of secret {name!r} are disabled.", secret=name) from None
            return self.read(name, enabled.id)

    def versions(self, name: str) -> list[Version]:
        """All versions of a secret, newest first; those of the same second by their ids, descending."""
        listed = self._call(
            name, lambda: list(map(_version, self._client.list_properties_of_secret_versions(name))), again=True
        )
        return sorted(listed, key=lambda version: (version.created, version.id), reverse=True)

    def write(self, name: str, value: str, *, content_type: str = "", expires: float | None = None) -> Version:
        """Store a new version, which may expire (Unix seconds)."""
        options: dict[str, Any] = {"content_type": content_type or None}
        if expires is not None:
            options["expires_on"] = dt.datetime.fromtimestamp(expires, dt.UTC)
        return self._call(name, lambda: _version(self._client.set_secret(name, value, **options).properties))

    def renew(self, name: str, version: str, *, enabled: bool, expires: float | None = None) -> Version:
        """Enable or disable one version, and have it expire (Unix seconds); nothing is stored."""
        options: dict[str, Any] = {"enabled": enabled}
        if expires is not None:
            options["expires_on"] = dt.datetime.fromtimestamp(expires, dt.UTC)
        return _version(self._call(name, lambda: self._client.update_secret_properties(name, version, **options)))

    def token(self, scope: str) -> str:
        """A token of the identity for a service, which is kept until five minutes before its end."""
        return self._call(scope, lambda: self._identity.get_token(scope).token)

    def close(self) -> None:
        self._client.close()
        self._identity.close()

    def _call[T](self, name: str, call: Callable[[], T], *, again: bool = False) -> T:
        """``again``: make the call once more where its connection broke: a read, which may be repeated."""
        try:
            return call()
        except AzureError as error:
            if again and _is_broken(error):
                return self._call(name, call)
            raise cause(error, name) from error
        except _UNREADABLE as error:
            raise VaultUnreachable(
                "The server at Key Vault's address responded, but not as Key Vault does; a proxy may have responded.",
                retry_after=_RETRY_AFTER,
            ) from error


def _version(properties: SecretProperties) -> Version:
    created, updated, expires = properties.created_on, properties.updated_on, properties.expires_on
    return Version(
        id=properties.version or "",
        created=created.timestamp() if created else 0.0,
        enabled=bool(properties.enabled),
        expires=expires.timestamp() if expires else None,
        updated=updated.timestamp() if updated else 0.0,
    )


def _is_broken(error: AzureError) -> bool:
    """Whether a connection was closed before a response: a kept one, mostly, which the server closed for its idleness.

    The server may do so while a request is on its way, which no check of the connection before the request can see.
    """
    return any(isinstance(one, ConnectionResetError | BrokenPipeError | ssl.SSLEOFError) for one in causes_of(error))


def cause(error: AzureError, secret: str) -> GatewayError:
    """The gateway's error for one of the SDK's; neither addresses nor bodies are passed on."""
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return _no_response(error)
    return _refusal(error, error.status_code, secret)


def _no_response(error: AzureError) -> GatewayError:
    causes = list(causes_of(error))
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        return VaultUntrusted("Key Vault's TLS certificate is not trusted.", retry_after=_RETRY_AFTER)
    if any(isinstance(one, NameResolutionError) for one in causes):
        return VaultNotFound("Key Vault's name does not resolve.", retry_after=_RETRY_AFTER)
    return VaultUnreachable("Key Vault did not respond.", retry_after=_RETRY_AFTER)


# What a refusal's code or message contains (Key Vault's "REST API error codes"), and what it means.
_REFUSALS: tuple[tuple[str, type[GatewayError], str], ...] = (
    ("ForbiddenByFirewall", VaultFirewalled, "Key Vault's firewall does not allow the gateway's address."),
    ("ForbiddenByConnection", VaultPrivate, "Key Vault allows no access from public networks."),
    ("AKV10032", WrongTenant, "The gateway's identity belongs to another tenant than Key Vault."),
    ("TokenExpired", TokenExpired, "Key Vault takes the gateway's token for expired."),
    ("VaultNotFound", VaultNotFound, "There is no Key Vault of that name."),
)


def _refusal(error: HttpResponseError, status: int, secret: str) -> GatewayError:
    said = _said(error)
    for code, kind, detail in _REFUSALS:
        if code in said and 400 <= status < 500:
            members = {"secret": secret} if issubclass(kind, VaultForbidden) else {}
            return kind(detail, retry_after=_RETRY_AFTER, **members)
    if status == 400:
        what = f"Key Vault rejects a request for secret {secret!r}: it is invalid, or its value is over 25 kB."
        return VaultRejected(what, secret=secret)
    return _by_status(error, status, secret)


def _by_status(error: HttpResponseError, status: int, secret: str) -> GatewayError:
    match status, _inner_code(error):
        case 404, _:
            return SecretMissing(f"Key Vault has no secret {secret!r}.", secret=secret)
        case 409, _:
            return SecretDisabled(
                f"The secret {secret!r} is deleted, and can only be recovered or purged.", secret=secret
            )
        case 429, _:
            return VaultThrottled("Key Vault responded with 429: too many requests.", retry_after=_retry_after(error))
        case 403, "SecretDisabled":
            return SecretDisabled(f"The latest version of secret {secret!r} is disabled.", secret=secret)
        case ((401 | 403), _):
            return VaultForbidden(f"Key Vault does not allow the gateway to use secret {secret!r}.", secret=secret)
        case _:
            return VaultUnreachable(f"Key Vault responded with status {status}.", retry_after=_RETRY_AFTER)


def credential(settings: VaultSettings) -> "TokenCredential":
    """The credential of the identity that the settings name; it waits for seconds only, and does not retry."""
    if settings.identity is IdentityKind.DEFAULT:
        # Imported here: it imports every other credential.
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415

        client = {"managed_identity_client_id": settings.client_id} if settings.client_id else {}
        return DefaultAzureCredential(**client, **_TIMEOUTS)
    return ManagedIdentityCredential(client_id=settings.client_id or None, retry_total=0, **_TIMEOUTS)


def _transport(settings: VaultSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.ca_file:
        options["connection_verify"] = settings.ca_file
    if settings.is_loopback:
        # The challenge names the real vaults' domain, which a loopback address is not part of.
        options["verify_challenge_resource"] = False
    return options


def _said(error: HttpResponseError) -> str:
    """The codes of a refusal and its message, in one text for searching; never to be passed on."""
    about = error.error
    return "" if about is None else f"{_inner_code(error)} {about.code} {about.message}"


def _inner_code(error: HttpResponseError) -> str:
    inner = getattr(error.error, "innererror", None) or {}
    return str(inner.get("code", "")) if isinstance(inner, dict) else str(getattr(inner, "code", ""))


def _retry_after(error: HttpResponseError) -> float:
    headers = getattr(error.response, "headers", {})
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdecimal() else _RETRY_AFTER
