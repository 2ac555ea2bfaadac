"""The JSON of the Model Management API (``api-version=2018-04-01-preview``): bodies in, bodies out, pages. No I/O."""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from devstack import bodies
from devstack.control.errors import BadRequest, ControlError
from devstack.control.records import (
    DELETE,
    SUCCEEDED,
    UPDATE,
    ModelRecord,
    OperationRecord,
    ServiceRecord,
)

Json = dict[str, Any]

API_VERSION = "2018-04-01-preview"
DISCOVERY_API_VERSION = "2017-09-01-preview"

_SSL_FIELDS = ("sslEnabled", "sslCertificate", "sslKey")
_KEY_FIELDS = ("primaryKey", "secondaryKey")


@dataclass(frozen=True)
class Tls:
    """The three ssl fields of a request: ``chain`` and ``key`` are PEM, or what the caller took for it."""

    enabled: bool
    chain: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True)
class Wanted:
    """What a request asks for: None leaves both keys, or TLS, as they are; a key that is None is to be generated."""

    model_id: str
    keys: tuple[str | None, str | None] | None = field(repr=False)
    tls: Tls | None


def check_api_version(given: str | None, expected: str) -> None:
    """Refuse a request without the API version, or with another.

    Raises:
        BadRequest: as it says.
    """
    if not given:
        raise BadRequest(f"The query lacks api-version: add api-version={expected}.")
    if given != expected:
        raise BadRequest(f"The api-version {given!r} is not supported: use {expected}.")


def parse_object(body: bytes) -> Json:
    """Read a request's JSON object.

    Raises:
        BadRequest: it is something else.
    """
    try:
        return bodies.parse_object(body)
    except bodies.BadBody as error:
        raise BadRequest(str(error)) from None


def text(document: Json, name: str) -> str:
    """A member that must be there and be text.

    Raises:
        BadRequest: it is not.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} is missing, or is no text.")
    return value


def parse_wanted(document: Json) -> Wanted:
    """What a create or update asks for.

    Raises:
        BadRequest: a member is missing or wrong.
    """
    if document.get("computeType") != "FPGA":
        raise BadRequest('computeType must be "FPGA".')
    replicas = document.get("numReplicas", 1)
    if replicas != 1 or isinstance(replicas, bool):
        raise BadRequest("numReplicas must be 1.")
    return Wanted(model_id=text(document, "modelId"), keys=_keys(document), tls=_tls(document))


def parse_key_type(body: bytes) -> tuple[bool, bool]:
    """Which keys to regenerate, the primary and the secondary; no body means both.

    Raises:
        BadRequest: it asks for something else.
    """
    if not body:
        return True, True
    kind = parse_object(body).get("keyType")
    if kind not in ("Primary", "Secondary"):
        raise BadRequest('keyType must be "Primary" or "Secondary"; without a body both keys are regenerated.')
    return kind == "Primary", kind == "Secondary"


def _keys(document: Json) -> tuple[str | None, str | None] | None:
    if "keys" not in document:
        return None
    keys = {} if document["keys"] is None else document["keys"]
    if not isinstance(keys, dict):
        raise BadRequest("keys must be an object with primaryKey and secondaryKey.")
    primary, secondary = (keys.get(name) for name in _KEY_FIELDS)
    if not all(isinstance(key, str | None) for key in (primary, secondary)):
        raise BadRequest("primaryKey and secondaryKey must be text, or null to have one generated.")
    return primary, secondary


def _tls(document: Json) -> Tls | None:
    given = [name for name in _SSL_FIELDS if name in document]
    if not given:
        return None
    if len(given) < len(_SSL_FIELDS):
        raise BadRequest(f"{', '.join(_SSL_FIELDS)} must be sent together, or none of them.")
    enabled, chain, key = (document[name] for name in _SSL_FIELDS)
    if not isinstance(enabled, bool) or not isinstance(chain, str) or not isinstance(key, str):
        raise BadRequest("sslEnabled must be true or false, sslCertificate and sslKey text.")
    return Tls(enabled, chain if enabled else "", key if enabled else "")


def service(record: ServiceRecord, under_way: OperationRecord | None, host: str) -> Json:
    """A service, without its keys and its certificate; ``under_way`` is an operation on it that has not ended."""
    shown = {
        "id": record.id,
        "name": record.name,
        "computeType": "FPGA",
        "ipAddress": host if record.port else None,
        "port": record.port or None,
        "state": _state(record, under_way),
        "modelId": record.model_id,
        "sslEnabled": record.tls,
        "numReplicas": 1,
        "createdAt": _date(record.created),
        "updatedAt": _date(record.updated),
    }
    return shown | ({"error": _told(record.error)} if record.error else {})


def keys(record: ServiceRecord) -> Json:
    """The keys of a service."""
    return {"primaryKey": record.primary_key, "secondaryKey": record.secondary_key}


def model(record: ModelRecord) -> Json:
    """A model."""
    return {
        "id": record.id,
        "name": record.name,
        "version": record.version,
        "mimeType": "application/zip",
        "url": record.url,
        "unpack": False,
        "createdAt": _date(record.created),
    }


def operation(record: OperationRecord, account: str) -> Json:
    """An operation; ``account`` is the path that the paths of services start with."""
    shown = {
        "id": record.id,
        "operationType": f"{record.kind}Service",
        "state": record.state,
        "resourceLocation": f"{account}/services/{record.service_id}",
        "createdAt": _date(record.created),
    }
    if record.ended is not None:
        shown["endedAt"] = _date(record.ended)
    return shown | ({"error": _told(record.error)} if record.error else {})


def error_body(error: ControlError) -> Json:
    """``{"error": {"code", "message", "details"}}``."""
    return {"error": {"code": error.code, **_told(str(error))}}


def _state(record: ServiceRecord, under_way: OperationRecord | None) -> str:
    kinds = {UPDATE: "Updating", DELETE: "Deleting"}
    if under_way and under_way.kind in kinds and (record.state == SUCCEEDED or under_way.kind == DELETE):
        return kinds[under_way.kind]
    return record.state


def _told(message: str) -> Json:
    return {"message": message, "details": []}


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def page[T: (ServiceRecord, ModelRecord)](
    records: Sequence[T], size: int, skip_token: str | None
) -> tuple[Sequence[T], str | None]:
    """The page that a token asks for (None: the first), and the token of the next one.

    The token is when the last record of the page was created, and its id: what is added or removed between two pages
    makes the next one neither repeat nor skip what stayed.

    Raises:
        BadRequest: the token is not one of ours.
    """
    after = _unmark(skip_token) if skip_token else (-1.0, "")
    rest = [record for record in records if (record.created, record.id) > after]
    chosen = rest[:size]
    return chosen, _mark(chosen[-1].created, chosen[-1].id) if len(rest) > size else None


def next_link(address: str, query: Mapping[str, str], token: str | None) -> str | None:
    """The absolute address of the next page, None after the last."""
    if token is None:
        return None
    return f"{address}?{urlencode({**query, '$skiptoken': token}, safe='$', quote_via=quote)}"


def _mark(created: float, identifier: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created, identifier]).encode()).rstrip(b"=").decode()


def _unmark(token: str) -> tuple[float, str]:
    try:
        created, identifier = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True))
        return float(created), str(identifier)
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("The $skiptoken is not one of this control plane's.") from None
