"""What the vault refuses, and how Key Vault names it.

``code`` and ``inner`` are the strings of the service's error body, ``{"error": {"code", "message", "innererror"}}``
("Azure Key Vault REST API Error Codes"); the messages are worded as the service words them, because people and
programs search for them.
"""

from pathlib import Path
from typing import ClassVar

_RECOVERY_HINT = (
    "If you recently deleted this secret you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)


class DamagedStore(Exception):
    """A file of the store cannot be used as it is."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the vault's file {path} is damaged ({reason}): "
            "restore it from a copy, or delete it to lose that one secret, and start again"
        )


class VaultError(Exception):
    """A request that Key Vault answers with an error."""

    code: ClassVar[str]
    inner: ClassVar[str | None] = None


class BadParameter(VaultError):
    """A name, a value or a query parameter breaks the service's rules."""

    code = "BadParameter"


class SecretNotFound(VaultError):
    """No such secret, or no such version of it."""

    code = "SecretNotFound"

    def __init__(self, identifier: str) -> None:
        super().__init__(f"A secret with (name/id) {identifier} was not found in this key vault. {_RECOVERY_HINT}")


class DeletedSecretNotFound(VaultError):
    """No secret of that name is deleted and recoverable."""

    code = "SecretNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"Deleted Secret not found: {name}")


class SecretDisabled(VaultError):
    """The version exists, but its ``enabled`` attribute is off."""

    code = "Forbidden"
    inner = "SecretDisabled"

    def __init__(self) -> None:
        super().__init__("Operation get is not allowed on a disabled secret.")


class NameIsDeleted(VaultError):
    """The name belongs to a deleted secret that is not purged."""

    code = "Conflict"
    inner = "ObjectIsDeletedButRecoverable"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
            "in this state, the secret can only be recovered or purged."
        )


class NameIsTaken(VaultError):
    """A backup can be restored only where no secret of that name is."""

    code = "Conflict"

    def __init__(self, name: str) -> None:
        super().__init__(f"A secret named {name} already exists; a backup restores only a name that is free.")


class Unauthorized(VaultError):
    """No token, or one that does not hold."""

    code = "Unauthorized"


class Throttled(VaultError):
    """Too many requests; ``retry_after`` is in seconds."""

    code = "Throttled"

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
        )
        self.retry_after = retry_after


class ForbiddenByPolicy(VaultError):
    """The caller has no permission for the operation (get, list, set, ...) in the vault's access policy."""

    code = "Forbidden"
    inner = "ForbiddenByPolicy"

    def __init__(self, caller: str, operation: str, vault: str) -> None:
        super().__init__(
            f"The user, group or application '{caller}' does not have secrets {operation} permission on key vault "
            f"'{vault};location=local'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287"
        )


class InternalError(VaultError):
    """The service failed."""

    code = "InternalServerError"

    def __init__(self) -> None:
        super().__init__("The service encountered an internal error; try again.")


class ServiceUnavailable(VaultError):
    """The service stops while a request waits."""

    code = "ServiceUnavailable"

    def __init__(self) -> None:
        super().__init__("The service is stopping.")
