"""The JSON of Key Vault's REST API of secrets: requests and responses. No I/O.

See the operations "Set Secret" to "Restore Secret" of the REST reference, API versions 7.0 to 2026-04-01, which do not
differ in the features of this vault.
"""

import re
from collections.abc import Callable
from typing import Any

from devstack.rest.bodies import Json
from devstack.rest.errors import BadRequest
from devstack.vault.records import Secret, SecretVersion
from devstack.vault.store import VaultStore

LATEST_API_VERSION = "2026-04-01"
MAX_PAGE = 25

# 2016-10-01, then 7.0 to 7.6, then dates again; also previews.
_API_VERSION = re.compile(r"(2016-10-01|7\.[0-6]|20(2[5-9]|[3-9]\d)-[01]\d-[0-3]\d)(-preview(\.\d+)?)?")

# The last second of the year 9999: clients convert these numbers to dates.
_LAST_SECOND = 253_402_300_799


def check_api_version(version: str | None) -> None:
    """Check the API version of a request.

    Raises:
        BadRequest: there is none, or an unknown one.
    """
    if not version:
        raise BadRequest("api-version must be specified")
    if not _API_VERSION.fullmatch(version):
        raise BadRequest(
            f"The specified version ({version}) is not recognized. "
            f"Consider using the latest supported version ({LATEST_API_VERSION})."
        )


class Shapes:
    """The representations of secrets, at the vault's address ``base`` (scheme and host, no final slash)."""

    def __init__(self, base: str, store: VaultStore) -> None:
        self._base = base
        self._recovery = {"recoveryLevel": store.recovery_level, "recoverableDays": store.retention_days}

    def bundle(self, version: SecretVersion) -> Json:
        """A version with its value, as in responses of "get" and "set"."""
        return {"value": version.value, **self.properties(version)}

    def properties(self, version: SecretVersion) -> Json:
        """A version without its value; its identifier contains the version."""
        return self._described(version, f"{self._base}/secrets/{version.name}/{version.id}")

    def item(self, version: SecretVersion) -> Json:
        """A secret in a list, with the attributes of its latest version; its identifier contains no version."""
        return self._described(version, f"{self._base}/secrets/{version.name}")

    def deleted(self, secret: Secret) -> Json:
        """A deleted secret."""
        return {**self._deletion(secret), **self.properties(secret.latest)}

    def deleted_item(self, secret: Secret) -> Json:
        """A deleted secret in a list."""
        return {**self._deletion(secret), **self.item(secret.latest)}

    def _described(self, version: SecretVersion, identifier: str) -> Json:
        shape: Json = {"id": identifier, "attributes": self._attributes(version)}
        if version.content_type is not None:
            shape["contentType"] = version.content_type
        if version.tags is not None:
            shape["tags"] = dict(version.tags)
        return shape

    def _attributes(self, version: SecretVersion) -> Json:
        dates = {"nbf": version.not_before, "exp": version.expires}
        return {
            "enabled": version.enabled,
            **{name: date for name, date in dates.items() if date is not None},
            "created": version.created,
            "updated": version.updated,
            **self._recovery,
        }

    def _deletion(self, secret: Secret) -> Json:
        if secret.deletion is None:
            raise ValueError(f"{secret.name} is not deleted")
        return {
            "recoveryId": f"{self._base}/deletedsecrets/{secret.name}",
            "deletedDate": secret.deletion.deleted,
            "scheduledPurgeDate": secret.deletion.purge,
        }


def parse_text(document: Json, name: str) -> str:
    """A required member.

    Raises:
        BadRequest: it is missing or not text.
    """
    text = document.get(name)
    if not isinstance(text, str):
        raise BadRequest(f"Property {name} has invalid value")
    return text


def parse_changes(document: Json) -> Json:
    """The attributes that a body sets, by their names in ``Attributes``; absent and null ones stay unchanged.

    Raises:
        BadRequest: one is invalid.
    """
    attributes = _checked(document, "attributes", lambda value: isinstance(value, dict)) or {}
    changes = {
        "enabled": _checked(attributes, "enabled", lambda value: isinstance(value, bool)),
        "not_before": _checked(attributes, "nbf", _is_date),
        "expires": _checked(attributes, "exp", _is_date),
        "content_type": _checked(document, "contentType", lambda value: isinstance(value, str)),
        "tags": _checked(document, "tags", _is_tags),
    }
    return {name: value for name, value in changes.items() if value is not None}


def _checked(document: Json, name: str, is_valid: Callable[[Any], bool]) -> Any:
    value = document.get(name)
    if value is not None and not is_valid(value):
        raise BadRequest(f"Property {name} has invalid value")
    return value


def _is_date(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_SECOND


def _is_tags(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(tag, str) for tag in value.values())


def parse_page_size(text: str | None) -> int:
    """The number of entries in a page, from ``maxresults``.

    Raises:
        BadRequest: it is not 1 to 25.
    """
    if text is None:
        return MAX_PAGE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_PAGE:
        raise BadRequest(f"maxresults must be a number from 1 to {MAX_PAGE}")
    return int(text)
