"""The JSON of Key Vault's REST API of secrets: bodies in, bodies out, pages. No I/O.

Shapes: the operations "Set Secret" to "Restore Secret" of the REST reference, API versions 7.0 to 2026-04-01, which
do not differ in what this vault offers.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from devstack import bodies
from devstack.vault.errors import BadParameter, VaultError
from devstack.vault.records import Secret, SecretVersion
from devstack.vault.store import VaultStore

Json = dict[str, Any]

LATEST_API_VERSION = "2026-04-01"
MAX_PAGE = 25

# 2016-10-01, then 7.0 to 7.6, then dates again; previews of them too.
_API_VERSION = re.compile(r"(2016-10-01|7\.[0-6]|20(2[5-9]|[3-9]\d)-[01]\d-[0-3]\d)(-preview(\.\d+)?)?")

# The last second of the year 9999: clients turn these numbers into dates.
_LAST_SECOND = 253_402_300_799


def check_api_version(version: str | None) -> None:
    """Refuse a request without an API version, or with an unknown one.

    Raises:
        BadParameter: as the service words it.
    """
    if not version:
        raise BadParameter("api-version must be specified")
    if not _API_VERSION.fullmatch(version):
        raise BadParameter(
            f"The specified version ({version}) is not recognized. "
            f"Consider using the latest supported version ({LATEST_API_VERSION})."
        )


def error_body(error: VaultError) -> Json:
    """``{"error": {"code", "message"[, "innererror": {"code"}]}}``."""
    body: Json = {"code": error.code, "message": str(error)}
    if error.inner:
        body["innererror"] = {"code": error.inner}
    return {"error": body}


class Shapes:
    """What the API shows of a secret, at the vault's address ``base`` (scheme and host, no trailing slash)."""

    def __init__(self, base: str, store: VaultStore) -> None:
        self._base = base
        self._recovery = {"recoveryLevel": store.recovery_level, "recoverableDays": store.retention_days}

    def bundle(self, version: SecretVersion) -> Json:
        """A version with its value: what "get" and "set" answer."""
        return {"value": version.value, **self.properties(version)}

    def properties(self, version: SecretVersion) -> Json:
        """A version without its value, under an identifier that names the version."""
        return self._described(version, f"{self._base}/secrets/{version.name}/{version.id}")

    def item(self, version: SecretVersion) -> Json:
        """A secret in a list: the latest version's attributes, under an identifier that names no version."""
        return self._described(version, f"{self._base}/secrets/{version.name}")

    def deleted(self, secret: Secret) -> Json:
        """A deleted secret."""
        return {**self._deletion(secret), **self.properties(secret.latest)}

    def deleted_item(self, secret: Secret) -> Json:
        """A deleted secret in a list."""
        return {**self._deletion(secret), **self.item(secret.latest)}

    def _described(self, version: SecretVersion, identifier: str) -> Json:
        shape: Json = {"id": identifier, "attributes": self._attributes(version)}
        if version.attributes.content_type is not None:
            shape["contentType"] = version.attributes.content_type
        if version.attributes.tags is not None:
            shape["tags"] = dict(version.attributes.tags)
        return shape

    def _attributes(self, version: SecretVersion) -> Json:
        dates = {"nbf": version.attributes.not_before, "exp": version.attributes.expires}
        return {
            "enabled": version.attributes.enabled,
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


def parse_object(body: bytes) -> Json:
    """Read a request's JSON object.

    Raises:
        BadParameter: it is something else.
    """
    try:
        return bodies.parse_object(body)
    except bodies.BadBody as error:
        raise BadParameter(str(error)) from None


def parse_text(document: Json, name: str) -> str:
    """A member that must be there and be text.

    Raises:
        BadParameter: it is not.
    """
    text = document.get(name)
    if not isinstance(text, str):
        raise BadParameter(f"Property {name} has invalid value")
    return text


def parse_changes(document: Json) -> Json:
    """The attributes that a body sets, by their names in ``Attributes``; one that is absent or null stays as it is.

    Raises:
        BadParameter: one is of the wrong type.
    """
    attributes = document.get("attributes")
    if attributes is None:
        attributes = {}
    if not isinstance(attributes, dict):
        raise BadParameter("Property attributes has invalid value")
    found = {
        "enabled": _checked(attributes, "enabled", _is_bool),
        "not_before": _checked(attributes, "nbf", _is_date),
        "expires": _checked(attributes, "exp", _is_date),
        "content_type": _checked(document, "contentType", _is_text),
        "tags": _checked(document, "tags", _is_tags),
    }
    return {name: value for name, value in found.items() if value is not None}


def _checked(document: Json, name: str, right: Callable[[object], bool]) -> Any:
    value = document.get(name)
    if value is not None and not right(value):
        raise BadParameter(f"Property {name} has invalid value")
    return value


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_date(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_SECOND


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_tags(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(tag, str) for tag in value.values())


def page[T](entries: Sequence[T], key: Callable[[T], str], query: Mapping[str, str]) -> tuple[Sequence[T], str | None]:
    """The page of ``entries`` (in the order of ``key``) that a query asks for, and the token of the next one.

    The token is the last key of the page, so that a page after a change neither repeats nor skips what stayed.

    Raises:
        BadParameter: ``maxresults`` is not 1 to 25, or the token is not one of ours.
    """
    size = _page_size(query.get("maxresults"))
    after = _unmark(query["$skiptoken"]) if "$skiptoken" in query else ""
    rest = [entry for entry in entries if key(entry) > after]
    chosen = rest[:size]
    return chosen, _mark(key(chosen[-1])) if len(rest) > size else None


def next_link(address: str, api_version: str, query: Mapping[str, str], token: str | None) -> str | None:
    """The absolute address of the next page, ``None`` after the last."""
    if token is None:
        return None
    size = f"&maxresults={query['maxresults']}" if "maxresults" in query else ""
    return f"{address}?api-version={api_version}&$skiptoken={token}{size}"


def _page_size(text: str | None) -> int:
    if text is None:
        return MAX_PAGE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_PAGE:
        raise BadParameter(f"maxresults must be a number from 1 to {MAX_PAGE}")
    return int(text)


def _mark(key: str) -> str:
    return encode_blob(key.encode())


def _unmark(token: str) -> str:
    try:
        return decode_blob(token).decode()
    except ValueError:
        raise BadParameter("The $skiptoken is not one of this vault's") from None


def encode_blob(blob: bytes) -> str:
    """base64url without padding (RFC 4648, section 5), as the API writes binary values."""
    return base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def decode_blob(text: str) -> bytes:
    """Read :func:`encode_blob`'s form, with or without padding.

    Raises:
        ValueError: it is not base64url.
    """
    stripped = text.rstrip("=")
    try:
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
