"""Key Vault: reads secrets with the gateway's identity, writes a rotation's, and names the cause where it cannot.

The synchronous clients, meant for a thread: importing them costs half of what the asynchronous ones do, and a cold
start pays for it. Import this module late for the same reason.
"""

import datetime as dt
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient, SecretProperties

from shared.errors import (
    GatewayError,
    IdentityUnavailable,
    SecretDisabled,
    SecretMissing,
    VaultForbidden,
    VaultThrottled,
    VaultUnreachable,
)
from shared.settings import Identity, VaultSettings
from shared.trust.secrets import Secret, Version

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

# A failure shows at once; whoever reads decides when to try again, and serves the last snapshot meanwhile.
_QUICK: dict[str, Any] = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5}

# The SDKs log each request's address and headers, and each failed token's story, at INFO and WARNING.
for _name in ("azure.core", "azure.identity", "azure.keyvault", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class Vault:
    """Reads and writes secrets; safe to use from several threads.

    Each method raises IdentityUnavailable, VaultUnreachable, VaultThrottled, VaultForbidden, SecretMissing or
    SecretDisabled: the cause, told apart.
    """

    def __init__(self, settings: VaultSettings) -> None:
        self._identity = _Identity(credential(settings))
        self._client = SecretClient(settings.url, self._identity, **_transport(settings), **_QUICK)

    def read(self, name: str, version: str | None = None) -> Secret:
        """A version of a secret; the latest when none is named."""
        found = self._told(name, lambda: self._client.get_secret(name, version))
        if not found.value:
            raise SecretMissing(f"The secret {name!r} is empty.", secret=name)
        about = _version(found.properties)
        return Secret(found.value, about.id, about.created)

    def read_enabled(self, name: str) -> Secret:
        """The latest version that is enabled; SecretDisabled where none is."""
        try:
            return self.read(name)
        except SecretDisabled:
            enabled = next((version for version in self.versions(name) if version.enabled), None)
            if enabled is None:
                raise SecretDisabled(f"All versions of secret {name!r} are disabled.", secret=name) from None
            return self.read(name, enabled.id)

    def versions(self, name: str) -> list[Version]:
        """All versions of a secret, the newest first; those of the same second by their identifiers, backwards."""
        listed = self._told(name, lambda: list(self._client.list_properties_of_secret_versions(name)))
        return sorted(map(_version, listed), key=lambda version: (version.created, version.id), reverse=True)

    def write(self, name: str, value: str, *, content_type: str = "", expires: float | None = None) -> Version:
        """Store a new version, which may expire."""
        options: dict[str, Any] = {"content_type": content_type or None}
        if expires is not None:
            options["expires_on"] = dt.datetime.fromtimestamp(expires, dt.UTC)
        return _version(self._told(name, lambda: self._client.set_secret(name, value, **options)).properties)

    def disable(self, name: str, version: str) -> None:
        """Disable one version."""
        self._told(name, lambda: self._client.update_secret_properties(name, version, enabled=False))

    def close(self) -> None:
        self._client.close()
        self._identity.close()

    def _told[T](self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except AzureError as error:
            raise cause(error, name) from error


def _version(properties: SecretProperties) -> Version:
    created, expires = properties.created_on, properties.expires_on
    return Version(
        id=properties.version or "",
        created=created.timestamp() if created else 0.0,
        enabled=bool(properties.enabled),
        expires=expires.timestamp() if expires else None,
    )


class _Identity:
    """A credential whose failures are told apart from the vault's."""

    def __init__(self, credential: "ManagedIdentityCredential | DefaultAzureCredential") -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            return self._credential.get_token(*scopes, **options)
        except AzureError as error:
            raise IdentityUnavailable("The identity endpoint gave no token for Key Vault.", retry_after=5) from error

    def close(self) -> None:
        self._credential.close()


def cause(error: AzureError, secret: str) -> GatewayError:
    """What an error of the SDK means, as one of the gateway's own; neither addresses nor bodies are passed on."""
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return VaultUnreachable("Key Vault gave no answer.", retry_after=5)
    return _refusal(error, error.status_code, secret)


def _refusal(error: HttpResponseError, status: int, secret: str) -> GatewayError:
    match status, _inner_code(error):
        case 404, _:
            return SecretMissing(f"Key Vault holds no secret {secret!r}.", secret=secret)
        case 409, _:
            return SecretDisabled(
                f"The secret {secret!r} was deleted, and can only be recovered or purged.", secret=secret
            )
        case 429, _:
            return VaultThrottled("Key Vault answered 429: too many requests.", retry_after=_retry_after(error))
        case 403, "SecretDisabled":
            return SecretDisabled(f"The latest version of secret {secret!r} is disabled.", secret=secret)
        case ((401 | 403), _):
            return VaultForbidden(f"Key Vault does not let the gateway use secret {secret!r}.", secret=secret)
        case _:
            return VaultUnreachable(f"Key Vault answered with status {status}.", retry_after=5)


def credential(settings: VaultSettings) -> "ManagedIdentityCredential | DefaultAzureCredential":
    """The identity that the settings name; it does not retry by itself."""
    if settings.identity is Identity.DEFAULT:
        # Imported here: it brings in every other credential.
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415

        client = {"managed_identity_client_id": settings.client_id} if settings.client_id else {}
        return DefaultAzureCredential(**client)
    return ManagedIdentityCredential(client_id=settings.client_id or None, retry_total=0)


def _transport(settings: VaultSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.ca_file:
        options["connection_verify"] = settings.ca_file
    if settings.is_loopback:
        # The challenge names the real vaults' domain, which a loopback address is not part of.
        options["verify_challenge_resource"] = False
    return options


def _inner_code(error: HttpResponseError) -> str:
    inner = getattr(error.error, "innererror", None) or {}
    return str(inner.get("code", "")) if isinstance(inner, dict) else str(getattr(inner, "code", ""))


def _retry_after(error: HttpResponseError) -> float:
    headers = getattr(error.response, "headers", {})
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdecimal() else 5.0
