"""The secrets of a vault in a folder, with the semantics of Key Vault.

The rules come from "About Azure Key Vault secrets" and "Azure Key Vault keys, secrets and certificates overview":
names, sizes, versions, soft delete. ``nbf`` and ``exp`` are not enforced, as in the first of these; ``enabled`` is.

Each secret is a file, which is written before the response. A store is used by one process and one thread. The values
are not encrypted, but only their owner can read them: this vault is for development.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devstack.files import remove_leftovers, write_atomically
from devstack.rest.errors import BadRequest, DamagedFile
from devstack.vault.errors import DeletedSecretNotFound, NameIsDeleted, NameIsTaken, SecretDisabled, SecretNotFound
from devstack.vault.records import Attributes, Deletion, Secret, SecretVersion

MAX_VALUE_BYTES = 25_600
MAX_CONTENT_TYPE = 255
MAX_TAGS = 15
MAX_TAG_LENGTH = 256

MIN_RETENTION_DAYS = 7
MAX_RETENTION_DAYS = 90

_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_DAY = 24 * 60 * 60


class VaultStore:
    """The secrets in ``folder``, which is made if it is missing; deleted ones stay ``retention_days``.

    Names are compared without regard to case, as in Key Vault, and keep their first spelling.

    Raises:
        DamagedFile: a file in the folder is not what this class wrote.
        OSError: the folder cannot be read or made.
    """

    def __init__(
        self, folder: Path, *, retention_days: int = MAX_RETENTION_DAYS, clock: Callable[[], float] = time.time
    ) -> None:
        if not MIN_RETENTION_DAYS <= retention_days <= MAX_RETENTION_DAYS:
            raise ValueError(f"deleted secrets are kept {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS} days")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.retention_days = retention_days
        self._folder = folder
        self._clock = clock
        self._secrets = _load(folder)

    def __repr__(self) -> str:
        deleted = sum(secret.deletion is not None for secret in self._secrets.values())
        return f"<VaultStore {self._folder}: {len(self._secrets) - deleted} secrets, {deleted} deleted>"

    @property
    def recovery_level(self) -> str:
        """Key Vault's name for this retention without purge protection."""
        standard = self.retention_days == MAX_RETENTION_DAYS
        return "Recoverable+Purgeable" if standard else "CustomizedRecoverable+Purgeable"

    def set(self, name: str, value: str, **attributes: Any) -> SecretVersion:
        """Add a version, and the secret if it is new; ``attributes`` are fields of ``Attributes``.

        Raises:
            BadRequest: the name, the value or an attribute breaks a rule.
            NameIsDeleted: a deleted secret has that name.
        """
        check_name(name)
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise BadRequest(f"Secret is beyond the maximum permitted length of {MAX_VALUE_BYTES} characters.")
        known = self._find(name)
        if known and known.deletion:
            raise NameIsDeleted(name)
        secret_name = known.name if known else name
        now = int(self._clock())
        version = SecretVersion(
            name=secret_name, id=uuid.uuid4().hex, value=value, created=now, updated=now, **attributes
        )
        _check_attributes(version)
        older = known.versions if known else ()
        self._write(Secret(name=secret_name, versions=(*older, version)))
        return version

    def get(self, name: str, version: str | None = None) -> SecretVersion:
        """A version, by default the latest; also outside its dates.

        Raises:
            SecretNotFound: there is no such secret or version.
            SecretDisabled: it is disabled.
        """
        found = self._version(name, version)
        if not found.enabled:
            raise SecretDisabled
        return found

    def list_latest(self) -> list[SecretVersion]:
        """The latest version of each secret that is not deleted, disabled ones too, in the order of names."""
        self._purge_due()
        return [secret.latest for _, secret in sorted(self._secrets.items()) if secret.deletion is None]

    def list_versions(self, name: str) -> list[SecretVersion]:
        """All versions of a secret, in the order of their identifiers; none for an unknown name.

        Key Vault defines no order, so clients must sort by ``created`` to find the newest; the random identifiers make
        a client that does not fail here too.
        """
        secret = self._find(name)
        if secret is None or secret.deletion:
            return []
        return sorted(secret.versions, key=lambda version: version.id)

    def update(self, name: str, version: str | None, changes: Mapping[str, Any]) -> SecretVersion:
        """Change attributes of a version (the latest by default); ``changes`` names fields of ``Attributes``.

        Raises:
            SecretNotFound: there is no such secret or version.
            BadRequest: an attribute breaks a rule.
        """
        old = self._version(name, version)
        new = replace(old, **changes, updated=int(self._clock()))
        _check_attributes(new)
        secret = self._active(name)
        versions = tuple(new if version.id == old.id else version for version in secret.versions)
        self._write(replace(secret, versions=versions))
        return new

    def delete(self, name: str) -> Secret:
        """Delete a secret with all its versions, until it is recovered or purged.

        Raises:
            SecretNotFound: there is no such secret.
        """
        secret = self._active(name)
        now = int(self._clock())
        deletion = Deletion(deleted=now, purge=now + self.retention_days * _DAY)
        return self._write(replace(secret, deletion=deletion))

    def list_deleted(self) -> list[Secret]:
        """The deleted secrets, in the order of names."""
        self._purge_due()
        return [secret for _, secret in sorted(self._secrets.items()) if secret.deletion]

    def get_deleted(self, name: str) -> Secret:
        """A deleted secret.

        Raises:
            DeletedSecretNotFound: no deleted secret has that name.
        """
        secret = self._find(name)
        if secret is None or secret.deletion is None:
            raise DeletedSecretNotFound(name)
        return secret

    def recover(self, name: str) -> Secret:
        """Recover a deleted secret.

        Raises:
            DeletedSecretNotFound: no deleted secret has that name.
        """
        return self._write(replace(self.get_deleted(name), deletion=None))

    def purge(self, name: str) -> None:
        """Remove a deleted secret.

        Raises:
            DeletedSecretNotFound: no deleted secret has that name.
        """
        self._erase(self.get_deleted(name))

    def backup(self, name: str) -> bytes:
        """All versions of a secret as one opaque blob.

        Raises:
            SecretNotFound: there is no such secret.
        """
        return self._active(name).to_json()

    def restore(self, blob: bytes) -> SecretVersion:
        """Restore a secret from :meth:`backup`, with the same versions; returns the latest.

        Raises:
            BadRequest: the blob is not a backup.
            NameIsTaken: a secret has that name; NameIsDeleted: a deleted one has.
        """
        try:
            secret = Secret.from_json(blob)
        except ValueError:
            raise BadRequest("The backup blob was not made by this vault.") from None
        check_name(secret.name)
        known = self._find(secret.name)
        if known:
            raise NameIsDeleted(known.name) if known.deletion else NameIsTaken(known.name)
        return self._write(replace(secret, deletion=None)).latest

    def _find(self, name: str) -> Secret | None:
        self._purge_due()
        return self._secrets.get(name.lower())

    def _active(self, name: str) -> Secret:
        secret = self._find(name)
        if secret is None or secret.deletion:
            raise SecretNotFound(name)
        return secret

    def _version(self, name: str, identifier: str | None) -> SecretVersion:
        secret = self._active(name)
        found = secret.latest if identifier is None else secret.version(identifier)
        if found is None:
            raise SecretNotFound(f"{name}/{identifier}")
        return found

    def _write(self, secret: Secret) -> Secret:
        write_atomically(self._path(secret.name), secret.to_json())
        self._secrets[secret.name.lower()] = secret
        return secret

    def _erase(self, secret: Secret) -> None:
        self._path(secret.name).unlink()
        del self._secrets[secret.name.lower()]

    def _purge_due(self) -> None:
        now = self._clock()
        for secret in list(self._secrets.values()):
            if secret.deletion and secret.deletion.purge <= now:
                self._erase(secret)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.lower()}.json"


def check_name(name: str) -> None:
    """Check a name by the rules of Key Vault.

    Raises:
        BadRequest: it is not 1 to 127 letters, digits and hyphens.
    """
    if not _NAME.fullmatch(name):
        raise BadRequest(f"The request URI contains an invalid name: {name}")


def _check_attributes(attributes: Attributes) -> None:
    if attributes.content_type is not None and len(attributes.content_type) > MAX_CONTENT_TYPE:
        raise BadRequest(f"Property contentType is longer than {MAX_CONTENT_TYPE} characters.")
    tags = attributes.tags or {}
    if len(tags) > MAX_TAGS:
        raise BadRequest(f"Property tags has more than {MAX_TAGS} entries.")
    if any(len(text) > MAX_TAG_LENGTH for tag in tags.items() for text in tag):
        raise BadRequest(f"Property tags has a name or a value of more than {MAX_TAG_LENGTH} characters.")


def _load(folder: Path) -> dict[str, Secret]:
    remove_leftovers(folder)
    secrets = (_read(path) for path in sorted(folder.glob("*.json")))
    return {secret.name.lower(): secret for secret in secrets}


def _read(path: Path) -> Secret:
    try:
        secret = Secret.from_json(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if f"{secret.name.lower()}.json" != path.name:
        raise _damaged(path, f"it contains the secret {secret.name}")
    return secret


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile("vault", path, reason, "lose that one secret")
