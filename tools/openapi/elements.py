"""Building blocks of an OpenAPI document: each function returns one element as a plain dictionary."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

type Json = dict[str, Any]

JSON, OCTET_STREAM = "application/json", "application/octet-stream"

# Who may call an operation: everyone, or clients with a key of the function or of the host.
ANYONE, FUNCTION_KEY, MASTER_KEY, METRICS_KEY = "", "functionKey", "masterKey", "metricsKey"

# Without a declared content, some generators type the errors of an operation as unknown, or as any.
_UNAUTHORIZED: Json = {
    "description": "The key is missing or wrong. Sent by the Functions host, with an empty body.",
    "content": {"text/plain": {"schema": {"type": "string", "maxLength": 0}}},
}

# The header of every response of the gateway itself.
REQUEST_ID = "X-Request-Id"


def present(**members: Any) -> Json:
    """The members that are not empty."""
    return {name: value for name, value in members.items() if value}


def ref(kind: str, name: str) -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


schema = partial(ref, "schemas")

# --- Schemas (JSON Schema 2020-12) --------------------------------------------------------------------------------


def value(kind: str | list[str], description: str = "", **keywords: Any) -> Json:
    """A value of a type, or of several."""
    return {"type": kind, **present(description=description), **keywords}


string = partial(value, "string")
integer = partial(value, "integer")
number = partial(value, "number")
boolean = partial(value, "boolean")


def array(items: Json, description: str = "", **keywords: Any) -> Json:
    """An array of one kind of items."""
    return value("array", description, items=items, **keywords)


def obj(description: str = "", /, *, optional: Mapping[str, Json] | None = None, **required: Json) -> Json:
    """An object: its required members as keywords, the others in ``optional``."""
    members = {"properties": {**required, **(optional or {})}}
    return value("object", description, **present(required=[*required]), **members)


def or_null(one: Json) -> Json:
    """Either a value of this schema or null."""
    return {"oneOf": [one, {"type": "null"}]}


# --- Operations -----------------------------------------------------------------------------------------------------


def content(kind: Json | str, media_type: str = JSON, **examples: Any) -> Json:
    """One media type of a body: its schema, or the name of its schema, and examples by name."""
    shown = {name: {"value": one} for name, one in examples.items()}
    return {media_type: present(schema=schema(kind) if isinstance(kind, str) else kind, examples=shown)}


def response(description: str, body: Json | None = None, headers: Iterable[str] = ()) -> Json:
    """A response of the gateway; ``headers`` are names of components."""
    named = {name: ref("headers", name) for name in (REQUEST_ID, *headers)}
    return present(description=description, headers=named, content=body)


def operation(
    name: str,
    summary: str,
    *,
    tag: str,
    responses: Mapping[str, Json],
    key: str = ANYONE,
    parameters: Iterable[str] = (),
    body: Json | None = None,
    description: str = "",
) -> Json:
    """An operation; ``parameters`` are names of components."""
    if key:
        responses = {"401": _UNAUTHORIZED, **responses}
    return {
        **present(operationId=name, tags=[tag], summary=summary, description=description),
        **present(parameters=[ref("parameters", one) for one in parameters], requestBody=body),
        "responses": dict(sorted(responses.items())),
        "security": [{key: []}] if key else [],
    }
