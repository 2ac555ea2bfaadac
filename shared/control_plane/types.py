"""The control plane's documents: services, keys, certificates and models, and their JSON. No I/O.

The members are those of the Model Management API, ``api-version=2018-04-01-preview``. Other members are ignored.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from shared.errors import InvalidControlPlaneResponse

type Json = dict[str, Any]

API_VERSION = "2018-04-01-preview"
DISCOVERY_API_VERSION = "2017-09-01-preview"

SUCCEEDED, FAILED, CANCELLED = "Succeeded", "Failed", "Cancelled"
UNFINISHED = frozenset({"NotStarted", "Running"})


@dataclass(frozen=True)
class Account:
    """The Model Management account, as Azure names it."""

    subscription: str
    group: str
    name: str

    def path(self, collection: str, identifier: str = "") -> str:
        """The path of the account's services or models, or of one of them."""
        subscription, group, name = self._quoted()
        entry = f"/{quote(identifier, safe='')}" if identifier else ""
        return f"/api/subscriptions/{subscription}/resourcegroups/{group}/accounts/{name}/{collection}{entry}"

    @property
    def discovery_path(self) -> str:
        """Where Azure Resource Manager returns the control plane's address."""
        subscription, group, name = self._quoted()
        provider = "providers/Microsoft.MachineLearningModelManagement"
        return f"/subscriptions/{subscription}/resourcegroups/{group}/{provider}/accounts/{name}"

    def _quoted(self) -> tuple[str, str, str]:
        return quote(self.subscription, safe=""), quote(self.group, safe=""), quote(self.name, safe="")


@dataclass(frozen=True)
class ServiceKeys:
    """A service's two keys; the service accepts either.

    Raises:
        ValueError: one is empty, or not printable ASCII: it could not be sent as gRPC metadata.
    """

    primary: str = field(repr=False)
    secondary: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, key in (("primary", self.primary), ("secondary", self.secondary)):
            check_key(name, key)

    @property
    def json(self) -> Json:
        return {"primaryKey": self.primary, "secondaryKey": self.secondary}


@dataclass(frozen=True)
class ServerCertificate:
    """A service's certificate chain, leaf first, and the leaf's private key, both PEM.

    Raises:
        ValueError: one of them is not PEM of its kind. The control plane checks that they match.
    """

    chain: str = field(repr=False)
    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if "-----BEGIN CERTIFICATE-----" not in self.chain:
            raise ValueError("the certificate chain holds no PEM certificate")
        if "PRIVATE KEY-----" not in self.key:
            raise ValueError("the private key is not PEM")

    @property
    def json(self) -> Json:
        return {"sslEnabled": True, "sslCertificate": self.chain, "sslKey": self.key}


NO_TLS: Json = {"sslEnabled": False, "sslCertificate": "", "sslKey": ""}


@dataclass(frozen=True)
class ServiceDescription:
    """A service as the control plane describes it; ``state`` is ``Succeeded`` when it is ready.

    ``address`` and ``port`` are None until it is deployed. ``error`` is the reason of the state Failed.
    """

    id: str
    name: str
    state: str
    model_id: str
    tls: bool
    address: str | None
    port: int | None
    created_at: dt.datetime | None
    updated_at: dt.datetime | None
    error: str | None

    @property
    def ready(self) -> bool:
        return self.state == SUCCEEDED

    @classmethod
    def parse(cls, document: Json) -> "ServiceDescription":
        """Read a Service.

        Raises:
            InvalidControlPlaneResponse: a member is missing or of another type.
        """
        error = document.get("error")
        return cls(
            id=member(document, "id", str),
            name=member(document, "name", str),
            state=member(document, "state", str),
            model_id=member(document, "modelId", str),
            tls=member(document, "sslEnabled", bool),
            address=_optional(document, "ipAddress", str),
            port=_optional(document, "port", int),
            created_at=_date(document, "createdAt"),
            updated_at=_date(document, "updatedAt"),
            error=message_of(error) if error else None,
        )


@dataclass(frozen=True)
class ModelDescription:
    """A registered model. ``url`` is its source, which may contain an access signature."""

    id: str
    name: str
    url: str | None = field(repr=False)
    created_at: dt.datetime | None

    @classmethod
    def parse(cls, document: Json) -> "ModelDescription":
        """Read a Model.

        Raises:
            InvalidControlPlaneResponse: a member is missing or of another type.
        """
        return cls(
            id=member(document, "id", str),
            name=_optional(document, "name", str) or "",
            url=_optional(document, "url", str),
            created_at=_date(document, "createdAt"),
        )


def parse_keys(document: Json) -> ServiceKeys:
    """Read the keys of a service.

    Raises:
        InvalidControlPlaneResponse: two usable keys are not there.
    """
    try:
        return ServiceKeys(member(document, "primaryKey", str), member(document, "secondaryKey", str))
    except ValueError:
        raise InvalidControlPlaneResponse("The control plane's keys cannot be used.") from None


def parse_object(body: bytes) -> Json:
    """Read a response's JSON object.

    Raises:
        InvalidControlPlaneResponse: it is something else.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidControlPlaneResponse("The control plane's response is not a JSON object.")
    return document


def parse_page(document: Json) -> tuple[Sequence[Json], str | None]:
    """The entries of a list's page, and the address of the next page.

    Raises:
        InvalidControlPlaneResponse: the response is not a page.
    """
    entries = member(document, "value", list)
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidControlPlaneResponse("The control plane's list contains an entry that is not an object.")
    return entries, _optional(document, "nextLink", str)


def message_of(error: object) -> str:
    """An error's message, in any of the forms that the API and the proxies before it use; may be empty."""
    if isinstance(error, Mapping):
        inner = error.get("error")
        return message_of(error.get("message", inner))
    return error if isinstance(error, str) else ""


def check_key(name: str, key: str) -> None:
    """Refuse what cannot be a key.

    Raises:
        ValueError: it is empty, or not printable ASCII.
    """
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"the {name} key must be printable ASCII and not empty")


def member[T](document: Json, name: str, kind: type[T]) -> T:
    """A required member of a response.

    Raises:
        InvalidControlPlaneResponse: it is missing or of another type.
    """
    value = document.get(name)
    # type() instead of isinstance(): a bool is an int in Python, but not in JSON.
    if type(value) is not kind:
        raise InvalidControlPlaneResponse(f"The control plane's response lacks {name}, or has it in another form.")
    found: T = value
    return found


def _optional[T](document: Json, name: str, kind: type[T]) -> T | None:
    return None if document.get(name) is None else member(document, name, kind)


def _date(document: Json, name: str) -> dt.datetime | None:
    text = _optional(document, name, str)
    if text is None:
        return None
    try:
        date = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidControlPlaneResponse(f"The control plane's response has no date in {name}.") from None
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)
