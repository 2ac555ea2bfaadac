"""Errors of Key Vault, of the managed identity, and of what secrets contain."""

from shared.errors.base import GatewayError


class IdentityUnavailable(GatewayError):
    slug = "identity-unavailable"
    status = 503
    title = "The gateway's identity returns no token"
    meaning = "No access token could be obtained for Key Vault or the control plane."
    remedy = "Check that the function app has a managed identity and that MANAGED_IDENTITY_CLIENT_ID, if set, names it."


class VaultUnreachable(GatewayError):
    slug = "vault-unreachable"
    status = 503
    title = "Key Vault cannot be reached"
    meaning = "Key Vault does not respond, or responds in an unexpected way."
    remedy = "Check KEY_VAULT_URL, the vault's firewall, and the private endpoint or DNS on the way to it."


class VaultThrottled(GatewayError):
    slug = "vault-throttled"
    status = 503
    title = "Key Vault is throttling the gateway"
    meaning = "Key Vault refuses temporarily: too many requests."
    remedy = "Try again shortly; if it lasts, raise CREDENTIALS_REFRESH_SECONDS or give the gateway a vault of its own."
    pause = 5


class VaultForbidden(GatewayError):
    slug = "vault-forbidden"
    status = 503
    title = "Key Vault refuses the gateway's identity"
    meaning = "The identity has no permission for this secret."
    remedy = "Give its identity the role 'Key Vault Secrets User' on the vault; 'Secrets Officer' where it rotates."


class VaultFirewalled(VaultForbidden):
    """The vault's firewall refuses the address (`ForbiddenByFirewall`):"""

    remedy = (
        "Allow the function app's outbound addresses in the vault's firewall, or connect it to the vault's network."
    )


class VaultPrivate(VaultForbidden):
    """The vault allows no public networks (`ForbiddenByConnection`):"""

    remedy = "Reach the vault by its private endpoint: integrate the function app into that network, and its DNS zone."


class WrongTenant(VaultForbidden):
    """The token is another tenant's (`AKV10032`):"""

    remedy = "Use a vault of the identity's own tenant, or change the vault's tenant id (az keyvault update)."


class TokenExpired(VaultForbidden):
    """The vault takes the token for expired (`TokenExpired`):"""

    remedy = "Try again shortly; if it lasts, check the clock of the machine, and restart the function app."
    pause = 5


class VaultNotFound(VaultUnreachable):
    """There is no vault of that name, or the name does not resolve:"""

    remedy = "Correct KEY_VAULT_URL, recover the vault if it was deleted, and check DNS on the way to it."


class VaultUntrusted(VaultUnreachable):
    """The vault's certificate is not trusted:"""

    remedy = "Check what intercepts TLS on the way to the vault; for a local vault, set KEY_VAULT_CA_FILE."


class VaultRejected(GatewayError):
    slug = "vault-rejected"
    status = 503
    title = "Key Vault rejects a request"
    meaning = "Key Vault responds with 400: the request is invalid, or the value to store is larger than 25 kB."
    remedy = "Where pins are to be stored, remove certificates that nothing serves any more from the pins secret."


class SecretMissing(GatewayError):
    slug = "secret-missing"
    status = 503
    title = "A secret is missing from Key Vault"
    meaning = "The vault has no secret of that name."
    remedy = (
        "Create the secret, or correct the setting that names it. A service that takes no key has AUTH=none, and one "
        "with a publicly trusted certificate TRUST=public."
    )


class SecretDisabled(GatewayError):
    slug = "secret-disabled"
    status = 503
    title = "A secret in Key Vault is disabled"
    meaning = "The secret's latest version is disabled, or the secret is deleted."
    remedy = "Enable the secret's latest version, or store a new one."


class InvalidPin(GatewayError):
    slug = "invalid-pin"
    status = 503
    title = "The pinned certificates cannot be used"
    meaning = "The pins secret contains no usable certificate."
    remedy = "Store the service's certificate, or its authority's, as PEM in the pins secret."


class InvalidKey(GatewayError):
    slug = "invalid-key"
    status = 503
    title = "The stored keys cannot be used"
    meaning = "A key in Key Vault has characters that no request can carry."
    remedy = "Store the service's key again, as printable ASCII: without line breaks, tabs or a byte order mark inside."
