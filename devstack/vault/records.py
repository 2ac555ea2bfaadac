"""Secrets as values, and their form on disk: a JSON document for each secret, with all its versions."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from devstack import typed_json

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What callers set beside the value; the dates are Unix seconds and are not enforced."""

    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    content_type: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class SecretVersion(Attributes):
    """One version of a secret; ``id`` is 32 hexadecimal digits, the dates are Unix seconds."""

    name: str
    id: str
    value: str = field(repr=False)
    created: int
    updated: int


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """When a secret was deleted, and when it will be purged (Unix seconds)."""

    deleted: int
    purge: int


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret with its versions, oldest first; there is at least one."""

    name: str
    versions: tuple[SecretVersion, ...]
    deletion: Deletion | None = None

    @property
    def latest(self) -> SecretVersion:
        return self.versions[-1]

    def version(self, identifier: str) -> SecretVersion | None:
        """The version of that identifier (in any case), if there is one."""
        return next((version for version in self.versions if version.id == identifier.lower()), None)

    def to_json(self) -> bytes:
        """The form on disk; the versions have no name of their own there."""
        versions = [asdict(version) for version in self.versions]
        for version in versions:
            del version["name"]
        deletion = self.deletion and asdict(self.deletion)
        document = {"format": _FORMAT, "name": self.name, "versions": versions, "deletion": deletion}
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Parse the form on disk.

        Raises:
            ValueError: it is something else; the message contains no value.
        """
        document = typed_json.load(content, _FORMAT)
        name, versions = document.get("name"), document.get("versions")
        if not isinstance(versions, list) or not versions or not all(isinstance(version, dict) for version in versions):
            raise ValueError("its versions are missing")
        return typed_json.read(cls, {**document, "versions": [{**version, "name": name} for version in versions]})
