"""The errors of the vault, with the codes and messages of Key Vault ("Azure Key Vault REST API Error Codes")."""

from http import HTTPStatus

from devstack import tokens
from devstack.rest.errors import NotFound, RestError
from devstack.tokens import Identity, Problem, TokenRefused

RESOURCE = "https://vault.azure.net"
"""The audience of tokens for Key Vault."""

_RECOVERY_HINT = (
    "If you recently deleted this secret you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)


class SecretNotFound(NotFound, code="SecretNotFound"):
    """There is no such secret, or no such version of it."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"A secret with (name/id) {identifier} was not found in this key vault. {_RECOVERY_HINT}")


class DeletedSecretNotFound(NotFound, code="SecretNotFound"):
    """There is no deleted secret of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Deleted Secret not found: {name}")


class _Forbidden(RestError, status=HTTPStatus.FORBIDDEN, code="Forbidden"): ...


class SecretDisabled(_Forbidden, inner="SecretDisabled"):
    """The version is not enabled."""

    def __init__(self) -> None:
        super().__init__("Operation get is not allowed on a disabled secret.")


class ForbiddenByPolicy(_Forbidden, inner="ForbiddenByPolicy"):
    """The vault's access policy does not allow the operation (get, list, set, ...)."""

    def __init__(self, caller: Identity, tenant: str, operation: str, vault: str) -> None:
        who = f"appid={caller.client_id};oid={caller.object_id};iss={tokens.issuer(tenant)}"
        super().__init__(
            f"The user, group or application '{who}' does not have secrets {operation} permission on key vault "
            f"'{vault};location=local'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287"
        )


class _Conflict(RestError, status=HTTPStatus.CONFLICT, code="Conflict"): ...


class NameIsDeleted(_Conflict, inner="ObjectIsDeletedButRecoverable"):
    """The name belongs to a deleted secret that is not purged."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
            "in this state, the secret can only be recovered or purged."
        )


class NameIsTaken(_Conflict):
    """A secret of that name exists, which a backup cannot replace."""

    def __init__(self, name: str) -> None:
        super().__init__(f"A secret named {name} already exists; a backup restores only a name that is free.")


def challenge(tenant: str) -> str:
    """The ``WWW-Authenticate`` header of a 401, which says where to get a token and for which resource.

    Clients send their first request without a token to get it ("Authentication, requests and responses").
    """
    return f'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="{RESOURCE}"'


_INVALID_TOKEN = {
    Problem.SIGNATURE: "AKV10046: Unable to resolve the key used for signature validation.",
    Problem.EXPIRED: "Error validating token: IDX10223: Lifetime validation failed. The token is expired.",
    Problem.NOT_YET_VALID: "Error validating token: IDX10222: Lifetime validation failed. The token is not yet valid.",
    Problem.MALFORMED: "Error validating token: IDX12741: the token is not a well-formed JWT.",
}


def explain(refused: TokenRefused | None, tenant: str) -> str:
    """The message of a 401; None: there was no token."""
    if refused is None:
        return "AKV10000: Request is missing a Bearer or PoP token."
    if refused.problem is Problem.AUDIENCE:
        return f"AKV10022: Invalid audience. Expected {RESOURCE}, found: {refused.found}."
    if refused.problem is Problem.ISSUER:
        return f"AKV10032: Invalid issuer. Expected one of {tokens.issuer(tenant)}, found {refused.found}."
    return _INVALID_TOKEN[refused.problem]
