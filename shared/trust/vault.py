"""Key Vault: reads secrets with the gateway's identity, and names the cause where it cannot.

The synchronous clients, meant for a thread: importing them costs half of what the asynchronous ones do, and a cold
start pays for it. Import this module late for the same reason.
"""

import logging
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

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

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

# A failure shows at once; whoever reads decides when to try again, and serves the last snapshot meanwhile.
_QUICK: dict[str, Any] = {"retry_total": 0, "connection_timeout": 3, "read_timeout": 5}

# The SDKs log each request's address and headers, and each failed token's story, at INFO and WARNING.
for _name in ("azure.core", "azure.identity", "azure.keyvault", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class Vault:
    """Reads the latest version of secrets; safe to use from several threads."""

    def __init__(self, settings: VaultSettings) -> None:
        self._identity = _Identity(_credential(settings))
        self._client = SecretClient(settings.url, self._identity, **_transport(settings), **_QUICK)

    def read(self, name: str) -> str:
        """The value of a secret's latest version.

        Raises:
            IdentityUnavailable, VaultUnreachable, VaultThrottled, VaultForbidden, SecretMissing, SecretDisabled: the
                cause, told apart.
        """
        try:
            value = self._client.get_secret(name).value
        except AzureError as error:
            raise cause(error, name) from error
        if not value:
            raise SecretMissing(f"The secret {name!r} is empty.", secret=name)
        return value

    def close(self) -> None:
        self._client.close()
        self._identity.close()


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
        case 429, _:
            return VaultThrottled("Key Vault answered 429: too many requests.", retry_after=_retry_after(error))
        case 403, "SecretDisabled":
            return SecretDisabled(f"The latest version of secret {secret!r} is disabled.", secret=secret)
        case ((401 | 403), _):
            return VaultForbidden(f"Key Vault does not let the gateway read secret {secret!r}.", secret=secret)
        case _:
            return VaultUnreachable(f"Key Vault answered with status {status}.", retry_after=5)


def _credential(settings: VaultSettings) -> "ManagedIdentityCredential | DefaultAzureCredential":
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
