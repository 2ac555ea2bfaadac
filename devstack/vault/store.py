"""The secrets of a vault, kept in a folder: the semantics of Key Vault, and nothing of HTTP.

The rules come from "About Azure Key Vault secrets" and "Azure Key Vault keys, secrets and certificates overview":
names, sizes, versions, soft delete. By the first of these, ``get`` also answers for a secret outside its
``nbf``/``exp`` window (those dates inform, they forbid nothing); what forbids is ``enabled``.

One file a secret, written atomically before the memory follows, so that what a caller was told is on disk.
A store belongs to one process and one thread. The values lie on disk in the clear, readable by their owner alone:
this vault is for development.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from devstack.vault.errors import (
    BadParameter,
    DamagedStore,
    DeletedSecretNotFound,
    NameIsDeleted,
    NameIsTaken,
    SecretDisabled,
    SecretNotFound,
)
from devstack.vault.files import TEMPORARY_SUFFIX, write_atomically
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
    """The secrets in ``folder``, which is made if it is missing; ``retention_days`` is how long deleted ones stay.

    Names are compared without regard to case, as Key Vault's are, and keep the case they were first written in.

    Raises:
        DamagedStore: a file in the folder is not what this class wrote.
        OSError: the folder cannot be read or made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        retention_days: int = MAX_RETENTION_DAYS,
        clock: Callable[[], float] = time.time,
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
        """What Key Vault calls a vault of this retention without purge protection."""
        standard = self.retention_days == MAX_RETENTION_DAYS
        return "Recoverable+Purgeable" if standard else "CustomizedRecoverable+Purgeable"

    def set(
        self,
        name: str,
        value: str,
        *,
        content_type: str | None = None,
        tags: Mapping[str, str] | None = None,
        enabled: bool = True,
        not_before: int | None = None,
        expires: int | None = None,
    ) -> SecretVersion:
        """Add a version, and the secret if it is new; the dates are Unix seconds.

        Raises:
            BadParameter: the name, the value or an attribute breaks a rule.
            NameIsDeleted: a deleted secret has that name.
        """
        check_name(name)
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise BadParameter(f"Secret is beyond the maximum permitted length of {MAX_VALUE_BYTES} characters.")
        attributes = Attributes(
            enabled=enabled, not_before=not_before, expires=expires, content_type=content_type, tags=tags
        )
        _check_attributes(attributes)
        known = self._find(name)
        if known and known.deletion:
            raise NameIsDeleted(name)
        secret_name = known.name if known else name
        now = int(self._clock())
        version = SecretVersion(
            name=secret_name, id=uuid.uuid4().hex, value=value, attributes=attributes, created=now, updated=now
        )
        older = known.versions if known else ()
        self._write(Secret(name=secret_name, versions=(*older, version)))
        return version

    def get(self, name: str, version: str | None = None) -> SecretVersion:
        """The version asked for, or the latest; also outside its dates.

        Raises:
            SecretNotFound: there is no such secret or version.
            SecretDisabled: there is, and it is disabled.
        """
        found = self._version(name, version)
        if not found.attributes.enabled:
            raise SecretDisabled
        return found

    def list_latest(self) -> list[SecretVersion]:
        """The latest version of each secret that is not deleted, disabled ones too, in the order of names."""
        self._purge_due()
        alive = (secret for key, secret in sorted(self._secrets.items()) if secret.deletion is None)
        return [secret.latest for secret in alive]

    def list_versions(self, name: str) -> list[SecretVersion]:
        """All versions of a secret, in the order of their identifiers; none for an unknown name.

        Key Vault promises no order, so whoever wants the newest must sort by ``created``; random identifiers
        make a caller that forgets it fail here as well.
        """
        secret = self._find(name)
        if secret is None or secret.deletion:
            return []
        return sorted(secret.versions, key=lambda version: version.id)

    def update(self, name: str, version: str | None, changes: Mapping[str, Any]) -> SecretVersion:
        """Change attributes of a version (the latest by default); ``changes`` names fields of ``Attributes``.

        Raises:
            SecretNotFound: there is no such secret or version.
            BadParameter: an attribute breaks a rule.
        """
        old = self._version(name, version)
        new = replace(old, attributes=replace(old.attributes, **changes), updated=int(self._clock()))
        _check_attributes(new.attributes)
        secret = self._alive(name)
        versions = tuple(new if each.id == old.id else each for each in secret.versions)
        self._write(replace(secret, versions=versions))
        return new

    def delete(self, name: str) -> Secret:
        """Delete a secret with all its versions, recoverably.

        Raises:
            SecretNotFound: there is no such secret.
        """
        secret = self._alive(name)
        now = int(self._clock())
        deletion = Deletion(deleted=now, purge=now + self.retention_days * _DAY)
        return self._write(replace(secret, deletion=deletion))

    def list_deleted(self) -> list[Secret]:
        """The deleted secrets, in the order of names."""
        self._purge_due()
        return [secret for key, secret in sorted(self._secrets.items()) if secret.deletion]

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
        """Bring a deleted secret back.

        Raises:
            DeletedSecretNotFound: no deleted secret has that name.
        """
        return self._write(replace(self.get_deleted(name), deletion=None))

    def purge(self, name: str) -> None:
        """Remove a deleted secret for good.

        Raises:
            DeletedSecretNotFound: no deleted secret has that name.
        """
        self._erase(self.get_deleted(name))

    def backup(self, name: str) -> bytes:
        """All versions of a secret as one opaque blob.

        Raises:
            SecretNotFound: there is no such secret.
        """
        return self._alive(name).to_json()

    def restore(self, blob: bytes) -> SecretVersion:
        """Bring back what :meth:`backup` gave, with the same versions; returns the latest.

        Raises:
            BadParameter: the blob is something else.
            NameIsTaken: a secret has that name; NameIsDeleted: a deleted one has.
        """
        try:
            secret = Secret.from_json(blob)
        except ValueError:
            raise BadParameter("The backup blob is not one that this vault made.") from None
        check_name(secret.name)
        known = self._find(secret.name)
        if known:
            raise NameIsDeleted(known.name) if known.deletion else NameIsTaken(known.name)
        return self._write(replace(secret, deletion=None)).latest

    def _find(self, name: str) -> Secret | None:
        self._purge_due()
        return self._secrets.get(name.lower())

    def _alive(self, name: str) -> Secret:
        secret = self._find(name)
        if secret is None or secret.deletion:
            raise SecretNotFound(name)
        return secret

    def _version(self, name: str, identifier: str | None) -> SecretVersion:
        secret = self._alive(name)
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
        due = [each for each in self._secrets.values() if each.deletion and each.deletion.purge <= now]
        for secret in due:
            self._erase(secret)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.lower()}.json"


def check_name(name: str) -> None:
    """Refuse a name that Key Vault would refuse.

    Raises:
        BadParameter: it is not 1 to 127 letters, digits and hyphens.
    """
    if not _NAME.fullmatch(name):
        raise BadParameter(f"The request URI contains an invalid name: {name}")


def _check_attributes(attributes: Attributes) -> None:
    if attributes.content_type is not None and len(attributes.content_type) > MAX_CONTENT_TYPE:
        raise BadParameter(f"Property contentType is longer than {MAX_CONTENT_TYPE} characters.")
    tags = attributes.tags or {}
    if len(tags) > MAX_TAGS:
        raise BadParameter(f"Property tags has more than {MAX_TAGS} entries.")
    if any(len(text) > MAX_TAG_LENGTH for tag in tags.items() for text in tag):
        raise BadParameter(f"Property tags has a name or a value of more than {MAX_TAG_LENGTH} characters.")


def _load(folder: Path) -> dict[str, Secret]:
    for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        leftover.unlink()  # a write that a crash interrupted: its caller never got an answer
    secrets = (_read(path) for path in sorted(folder.glob("*.json")))
    return {secret.name.lower(): secret for secret in secrets}


def _read(path: Path) -> Secret:
    try:
        secret = Secret.from_json(path.read_bytes())
    except ValueError as error:
        raise DamagedStore(path, str(error)) from None
    if f"{secret.name.lower()}.json" != path.name:
        raise DamagedStore(path, f"it holds the secret {secret.name}")
    return secret
