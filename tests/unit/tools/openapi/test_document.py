"""The OpenAPI document matches the app's routes and the gateway's problem types."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # published without types
from openapi_spec_validator import validate

import function_app
from functions.http.problems import PROBLEM_TYPE
from shared.errors import problem_types
from tools.openapi import document, problems
from tools.reference.examples import EXAMPLES

DOCUMENT = document.build()
METHODS = {"get", "post", "put", "patch", "delete"}
# Routes that match all paths of an API, which the document lists individually.
CATCH_ALL = ("v1/{*path}", "v2/{*path}")
HOME = "{ignored:maxlength(0)?}"
KEYS = {"ANONYMOUS": set(), "FUNCTION": {"functionKey"}, "ADMIN": {"masterKey"}}


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        yield from ((path, method, item[method]) for method in METHODS & item.keys())


@functools.cache
def routes() -> dict[tuple[str, str], str]:
    """The access level of each route and method that the app registers."""
    app = function_app.app
    # The library raises an error if the functions are listed twice, and other tests also list them.
    app.functions_bindings = {}
    triggers: list[Any] = [function.get_trigger() for function in app.get_functions()]
    app.functions_bindings = {}
    return {
        (trigger.route, method.value.lower()): trigger.auth_level.name
        for trigger in triggers
        if hasattr(trigger, "methods")
        for method in trigger.methods
    }


def route(path: str, method: str) -> tuple[str, str]:
    """The registered route that a documented path belongs to."""
    if path == "/":
        return HOME, method
    if (path[1:], method) not in routes() and path[1:3] in {"v1", "v2"}:
        return f"{path[1:3]}/{{*path}}", method
    return path[1:], method


PROBLEMS = {kind.slug: kind for kind in problem_types() if kind not in problems.PROTOCOL}


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_the_operations_are_the_routes_of_the_app() -> None:
    documented = {route(path, method) for path, method, _ in operations()}
    # The catch-all routes accept these methods only to reject them in the format of their protocol.
    rejected = {(template, method) for template in CATCH_ALL for method in ("put", "patch", "delete")}
    # HEAD is as GET; generators would make a function of each.
    heads = {(template, method) for template, method in routes() if method == "head"}
    assert documented == routes().keys() - rejected - heads
    assert heads == {(template, "head") for template, method in documented if method == "get"} - {
        ("api/rotation", "head")
    }
    assert not any("head" in item for item in DOCUMENT["paths"].values())


def test_each_operation_requires_the_key_that_the_app_requires() -> None:
    levels = routes()
    for path, method, found in operations():
        required = {name for one in found["security"] for name in one}
        expected = {"metricsKey"} if path == "/api/metrics" else KEYS[levels[route(path, method)]]
        assert required == expected, (path, method)
    # As an alternative in the query, generated clients would put it into each address.
    assert {scheme.get("in") for scheme in DOCUMENT["components"]["securitySchemes"].values()} == {"header", None}


def test_operation_ids_are_unique_and_path_parameters_are_documented() -> None:
    names = [found["operationId"] for _, _, found in operations()]
    assert len(names) == len(set(names))
    components = DOCUMENT["components"]["parameters"]
    for path, _, found in operations():
        parameters = [components[one["$ref"].split("/")[-1]] for one in found.get("parameters", ())]
        assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))


def test_every_problem_type_is_documented_and_no_other() -> None:
    examples = DOCUMENT["components"]["examples"]
    assert examples.keys() == PROBLEMS.keys()
    for slug, kind in PROBLEMS.items():
        value = examples[slug]["value"]
        assert (value["type"], value["title"], value["status"]) == (PROBLEM_TYPE + slug, kind.title, kind.status)
        assert value.get("remedy") == kind.remedy
        assert value["detail"] == kind.meaning


def test_every_problem_is_a_response_of_some_operation_with_its_own_status() -> None:
    statuses = {slug: str(kind.status) for slug, kind in PROBLEMS.items()}
    attached = set()
    for _, _, found in operations():
        for status, one in found["responses"].items():
            content = one.get("content", {}).get("application/problem+json", {})
            assert {statuses[slug] for slug in content.get("examples", ())} <= {status}
            attached |= set(content.get("examples", ()))
    assert attached == statuses.keys()


def test_an_operation_has_one_form_of_body() -> None:
    """Of several, generators send one as if it were another, or make code that does not compile."""
    bodies = [found["requestBody"]["content"] for _, _, found in operations() if "requestBody" in found]
    assert {len(content) for content in bodies} == {1}
    assert {"multipart/form-data", "application/json", "application/octet-stream"} == {
        kind for content in bodies for kind in content
    }


def test_every_error_has_a_schema_that_all_operations_share() -> None:
    errors = [
        content["schema"]
        for _, _, found in operations()
        for one in found["responses"].values()
        for kind, content in one.get("content", {}).items()
        if kind == "application/problem+json"
    ]
    assert errors
    assert all(schema == {"$ref": "#/components/schemas/Problem"} for schema in errors)
    documented = DOCUMENT["components"]["schemas"]["Problem"]["properties"].keys()
    assert {member for example in EXAMPLES.values() for member in example} <= documented


def test_the_hosts_401_is_declared_wherever_a_key_is_needed() -> None:
    for path, method, found in operations():
        assert ("401" in found["responses"]) is bool(found["security"]), (path, method)


def test_component_names_are_different_file_names() -> None:
    names = [name.lower() for components in DOCUMENT["components"].values() for name in components]
    headers = {name.lower() for name in DOCUMENT["components"]["headers"]}
    assert len(names) == len(set(names)), sorted(name for name in headers if names.count(name) > 1)


def test_the_document_names_no_server() -> None:
    """Clients of "/" would call "//api/...", another host."""
    assert "servers" not in DOCUMENT


def test_bytes_have_a_type() -> None:
    """With contentMediaType alone, openapi-python-client cannot send them."""
    text = str(DOCUMENT)
    assert "contentMediaType" not in text
    assert "'format': 'binary'" in text


def references(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(found.get("$ref"), str):
            yield found["$ref"]
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from references(one)


def test_every_component_is_used() -> None:
    used = set(references(DOCUMENT))
    for kind in ("schemas", "parameters", "headers", "examples"):
        assert {f"#/components/{kind}/{name}" for name in DOCUMENT["components"][kind]} <= used


def test_the_examples_match_their_schemas() -> None:
    count = 0
    for _, _, found in operations():
        for owner in (found.get("requestBody", {}), *found["responses"].values()):
            for content in owner.get("content", {}).values():
                schema = {"allOf": [content["schema"]], "components": DOCUMENT["components"]}
                for name, example in content.get("examples", {}).items():
                    shown = DOCUMENT["components"]["examples"][name] if "$ref" in example else example
                    Draft202012Validator(schema).validate(shown["value"])
                    count += 1
    assert count
