"""The JSON of the Model Management API (``api-version=2018-04-01-preview``): requests and responses. No I/O."""

import datetime as dt
from dataclasses import dataclass, field, replace

from devstack.control.records import DELETE, SUCCEEDED, UPDATE, ModelRecord, OperationRecord, ServiceRecord
from devstack.control.store import new_key
from devstack.rest.bodies import Json, parse_object
from devstack.rest.errors import BadRequest

API_VERSION = "2018-04-01-preview"
DISCOVERY_API_VERSION = "2017-09-01-preview"

_SSL_FIELDS = ("sslEnabled", "sslCertificate", "sslKey")
_KEY_FIELDS = ("primaryKey", "secondaryKey")


@dataclass(frozen=True)
class Tls:
    """The three ssl fields of a request; ``chain`` and ``key`` should be PEM."""

    enabled: bool
    chain: str = field(repr=False)
    key: str = field(repr=False)


@dataclass(frozen=True)
class Change:
    """The change of a service that a request asks for; None leaves both keys, or TLS, unchanged."""

    model_id: str
    keys: tuple[str, str] | None = field(repr=False)
    tls: Tls | None

    def applied_to(self, record: ServiceRecord) -> ServiceRecord:
        changed = replace(record, model_id=self.model_id)
        if self.keys:
            changed = replace(changed, primary_key=self.keys[0], secondary_key=self.keys[1])
        if self.tls:
            changed = replace(changed, tls=self.tls.enabled, chain=self.tls.chain, key=self.tls.key)
        return changed


def check_api_version(given: str | None, expected: str) -> None:
    """Check the API version of a request.

    Raises:
        BadRequest: there is none, or another.
    """
    if not given:
        raise BadRequest(f"The query has no api-version: add api-version={expected}.")
    if given != expected:
        raise BadRequest(f"The api-version {given!r} is not supported: use {expected}.")


def text(document: Json, name: str) -> str:
    """A required member.

    Raises:
        BadRequest: it is missing or not text.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} is missing, or is not text.")
    return value


def parse_change(document: Json) -> Change:
    """The change that a create or update asks for, with keys generated where it asks for that.

    Raises:
        BadRequest: a member is missing or invalid.
    """
    if document.get("computeType") != "FPGA":
        raise BadRequest('computeType must be "FPGA".')
    replicas = document.get("numReplicas", 1)
    if replicas != 1 or isinstance(replicas, bool):
        raise BadRequest("numReplicas must be 1.")
    return Change(model_id=text(document, "modelId"), keys=_keys(document), tls=_tls(document))


def parse_key_type(body: bytes) -> tuple[bool, bool]:
    """Which keys to regenerate, the primary and the secondary; no body means both.

    Raises:
        BadRequest: the key type is invalid.
    """
    if not body:
        return True, True
    kind = parse_object(body).get("keyType")
    if kind not in ("Primary", "Secondary"):
        raise BadRequest('keyType must be "Primary" or "Secondary"; without a body both keys are regenerated.')
    return kind == "Primary", kind == "Secondary"


def _keys(document: Json) -> tuple[str, str] | None:
    if "keys" not in document:
        return None
    keys = {} if document["keys"] is None else document["keys"]
    if not isinstance(keys, dict):
        raise BadRequest("keys must be an object with primaryKey and secondaryKey.")
    primary, secondary = (new_key() if keys.get(name) is None else keys[name] for name in _KEY_FIELDS)
    if not isinstance(primary, str) or not isinstance(secondary, str):
        raise BadRequest("primaryKey and secondaryKey must be text, or null for a generated one.")
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


def service(record: ServiceRecord, operation: OperationRecord | None, host: str) -> Json:
    """A service, without its keys and its certificate; ``operation`` is one on it that has not ended."""
    shown = {
        "id": record.id,
        "name": record.name,
        "computeType": "FPGA",
        "ipAddress": host if record.port else None,
        "port": record.port or None,
        "state": _state(record, operation),
        "modelId": record.model_id,
        "sslEnabled": record.tls,
        "numReplicas": 1,
        "createdAt": _date(record.created),
        "updatedAt": _date(record.updated),
    }
    return shown | _error(record.error)


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
    """An operation; ``account`` is the path of the account."""
    shown = {
        "id": record.id,
        "operationType": f"{record.kind}Service",
        "state": record.state,
        "resourceLocation": f"{account}/services/{record.service_id}",
        "createdAt": _date(record.created),
    }
    if record.ended is not None:
        shown["endedAt"] = _date(record.ended)
    return shown | _error(record.error)


def _state(record: ServiceRecord, operation: OperationRecord | None) -> str:
    kinds = {UPDATE: "Updating", DELETE: "Deleting"}
    if operation and operation.kind in kinds and (record.state == SUCCEEDED or operation.kind == DELETE):
        return kinds[operation.kind]
    return record.state


def _error(message: str | None) -> Json:
    return {"error": {"message": message, "details": []}} if message else {}


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
