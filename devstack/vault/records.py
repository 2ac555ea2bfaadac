"""Secrets as values, and their form on disk: one JSON document a secret, with all its versions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a caller may set beside the value; the dates are Unix seconds and only inform, they forbid nothing."""

    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    content_type: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class SecretVersion:
    """One version of a secret; ``id`` is 32 hexadecimal digits, the dates are Unix seconds."""

    name: str
    id: str
    value: str = field(repr=False)
    attributes: Attributes
    created: int
    updated: int


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """When a secret was deleted, and when it disappears for good (Unix seconds)."""

    deleted: int
    purge: int


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret with its versions, oldest first: never none."""

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
        """The form on disk."""
        document = {
            "format": _FORMAT,
            "name": self.name,
            "versions": [_version_document(version) for version in self.versions],
            "deletion": self.deletion and {"deleted": self.deletion.deleted, "purge": self.deletion.purge},
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: it is something else; the message says what, and holds no value.
        """
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            # The decoder's own message is left out: it may quote what it read.
            raise ValueError("it is not JSON") from None
        if _member(document, "format", int) != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        name = _member(document, "name", str)
        versions = tuple(_version(name, each) for each in _member(document, "versions", list))
        if not versions:
            raise ValueError("it holds no version")
        deletion = _optional(document, "deletion", dict)
        return cls(name=name, versions=versions, deletion=None if deletion is None else _deletion(deletion))


def _version_document(version: SecretVersion) -> dict[str, Any]:
    attributes = version.attributes
    return {
        "id": version.id,
        "value": version.value,
        "enabled": attributes.enabled,
        "not_before": attributes.not_before,
        "expires": attributes.expires,
        "content_type": attributes.content_type,
        "tags": None if attributes.tags is None else dict(attributes.tags),
        "created": version.created,
        "updated": version.updated,
    }


def _version(name: str, document: object) -> SecretVersion:
    tags = _optional(document, "tags", dict)
    if tags is not None and not all(isinstance(tag, str) for tag in tags.values()):
        raise ValueError('its "tags" are not all text')
    return SecretVersion(
        name=name,
        id=_member(document, "id", str),
        value=_member(document, "value", str),
        attributes=Attributes(
            enabled=_member(document, "enabled", bool),
            not_before=_optional(document, "not_before", int),
            expires=_optional(document, "expires", int),
            content_type=_optional(document, "content_type", str),
            tags=tags,
        ),
        created=_member(document, "created", int),
        updated=_member(document, "updated", int),
    )


def _deletion(document: dict[str, Any]) -> Deletion:
    return Deletion(deleted=_member(document, "deleted", int), purge=_member(document, "purge", int))


def _optional[T](document: object, name: str, kind: type[T]) -> T | None:
    if isinstance(document, dict) and name in document and document[name] is None:
        return None
    return _member(document, name, kind)


def _member[T](document: object, name: str, kind: type[T]) -> T:
    # type() and not isinstance(): a bool is an int to Python, and not to JSON.
    if not isinstance(document, dict) or type(document.get(name)) is not kind:
        raise ValueError(f'its "{name}" is missing or of another type')
    member: T = document[name]
    return member
