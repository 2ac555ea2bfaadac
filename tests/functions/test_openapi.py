"""The OpenAPI document, held against the app and the problems that there are; and the page made of it."""

import functools
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import azure.functions as func
import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # published without types
from openapi_spec_validator import validate

import function_app
from functions import openapi, openapi_document, openapi_page
from functions.answers import PROBLEM_TYPE
from shared.errors import GatewayError
from tests.conftest import ROOT
from tests.functions.door_lab import Door

DOCUMENT = openapi_document.build()
METHODS = {"get", "head", "post", "put", "patch", "delete"}
# What one template of the host stands for, where the document names the real paths.
DOORS = ("v1/{*path}", "v2/{*path}")
HOME = "{ignored:maxlength(0)?}"
KEYS = {"ANONYMOUS": set(), "FUNCTION": {"functionKey"}, "ADMIN": {"masterKey"}}


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        yield from ((path, method, item[method]) for method in METHODS & item.keys())


@functools.cache
def routes() -> dict[tuple[str, str], str]:
    """The access level of every template and method that the app registers."""
    app = function_app.app
    # The library remembers the names of what it told, and refuses to tell it again: other tests ask as well.
    app.functions_bindings = {}
    triggers: list[Any] = [function.get_trigger() for function in app.get_functions()]
    app.functions_bindings = {}
    return {
        (trigger.route, method.value.lower()): trigger.auth_level.name
        for trigger in triggers
        if hasattr(trigger, "methods")
        for method in trigger.methods
    }


def template(path: str, method: str) -> tuple[str, str]:
    """The registered route that a documented path belongs to."""
    if path == "/":
        return HOME, method
    if (path[1:], method) not in routes() and path[1:3] in {"v1", "v2"}:
        return f"{path[1:3]}/{{*path}}", method
    return path[1:], method


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)


def test_every_operation_is_a_route_of_the_app_and_the_other_way_round() -> None:
    documented = {template(path, method) for path, method, _ in operations()}
    # The doors' own methods but these only tell that they are not taken.
    refused = {(door, method) for door in DOORS for method in ("put", "patch", "delete")}
    assert documented == routes().keys() - refused


def test_each_operation_asks_for_the_key_that_the_app_asks_for() -> None:
    levels = routes()
    for path, method, found in operations():
        asked = {name.removesuffix("InQuery") for one in found["security"] for name in one}
        assert asked == KEYS[levels[template(path, method)]], (path, method)


def test_names_of_operations_are_unique_and_parameters_of_paths_are_told() -> None:
    names = [found["operationId"] for _, _, found in operations()]
    assert len(names) == len(set(names))
    for path, _, found in operations():
        told = [DOCUMENT["components"]["parameters"][one["$ref"].split("/")[-1]] for one in found.get("parameters", ())]
        assert {one["name"] for one in told if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))


def test_every_problem_is_told_and_no_other() -> None:
    tree = {kind.slug: kind for kind in GatewayError.__subclasses__()}
    examples = DOCUMENT["components"]["examples"]
    assert examples.keys() == tree.keys()
    for slug, kind in tree.items():
        value = examples[slug]["value"]
        assert (value["type"], value["title"], value["status"]) == (PROBLEM_TYPE + slug, kind.title, kind.status)
        assert value.get("remedy") == kind.remedy


def test_every_problem_is_an_answer_of_some_operation_at_its_own_status() -> None:
    statuses = {kind.slug: str(kind.status) for kind in GatewayError.__subclasses__()}
    attached = set()
    for _, _, found in operations():
        for status, one in found["responses"].items():
            content = one.get("content", {}).get("application/problem+json", {})
            assert {statuses[slug] for slug in content.get("examples", ())} <= {status}
            attached |= set(content.get("examples", ()))
    assert attached == statuses.keys()


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


def fits(schema: object, value: object) -> bool:
    """Whether a value is what a schema of the document says."""
    Draft202012Validator({"allOf": [schema], "components": DOCUMENT["components"]}).validate(value)
    return True


def contents(found: Any) -> Iterator[Mapping[str, Any]]:
    for owner in (found.get("requestBody", {}), *found["responses"].values()):
        yield from owner.get("content", {}).values()


def test_the_examples_are_what_the_schemas_say() -> None:
    count = 0
    for _, _, found in operations():
        for content in contents(found):
            for name, example in content.get("examples", {}).items():
                shown = DOCUMENT["components"]["examples"][name] if "$ref" in example else example
                assert fits(content["schema"], shown["value"])
                count += 1
    assert count


DOOR_PATHS = sorted(
    {(path, method) for path, method, _ in operations() if path.startswith(("/v1/models", "/v2/models"))}
)


@pytest.mark.parametrize(("path", "method"), DOOR_PATHS)
async def test_the_doors_know_every_path_that_is_documented(path: str, method: str, door: Door) -> None:
    there = path.format(model="no-such-model", version="1", label="stable")
    answer = await door.call(method.upper(), there, b"{}")
    # Neither "malformed request" nor "method not allowed": the address was understood, and only the model is unknown.
    assert answer.status == 404
    assert "no model 'no-such-model'" in answer.json["error"]
    assert fits(
        DOCUMENT["paths"][path]["get" if method == "head" else method]["responses"]["404"]["content"][
            "application/json"
        ]["schema"],
        answer.json,
    )


# --- The page -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The ids of a page, where its links lead, and what a strict policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.refused: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.refused += [tag] if tag in {"script", "style"} else []
        for name, value in attrs:
            self.ids += [str(value)] if name == "id" else []
            self.links += [str(value)] if name in {"href", "src"} else []
            self.refused += [name] if name == "style" or name.startswith("on") else []

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_the_page_tells_of_every_operation_problem_and_schema() -> None:
    page = Page(openapi_page.render(DOCUMENT))
    for path, method, found in operations():
        assert method == "head" or found["operationId"] in page.ids
        assert path in page.text
    assert {f"problem-{name}" for name in DOCUMENT["components"]["examples"]} <= set(page.ids)
    assert {f"schema-{name}" for name in DOCUMENT["components"]["schemas"]} <= set(page.ids)


def test_the_page_has_no_script_and_every_link_leads_somewhere() -> None:
    page = Page(openapi_page.render(DOCUMENT))
    assert page.refused == []
    assert len(page.ids) == len(set(page.ids))
    served = {f"../web/{file.name}" for file in (ROOT / "web").iterdir()} | {"openapi.json"}
    assert set(page.links) <= served | {f"#{name}" for name in page.ids}


def test_what_the_document_says_stays_text_on_the_page() -> None:
    hostile = {**DOCUMENT, "info": {**DOCUMENT["info"], "title": "<script>alert(1)</script>"}}
    assert Page(openapi_page.render(hostile)).refused == []


# --- As they are served -------------------------------------------------------------------------------------------


def get(file: Any, kind: str, **headers: str) -> func.HttpResponse:
    return openapi._send(file, kind, {name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize("make", [openapi.document, openapi.page])
def test_they_are_made_once_and_sent_as_wished(make: Any) -> None:
    assert make() is make()
    whole = get(make(), "text/plain")
    assert whole.headers["ETag"] == make().etag
    assert get(make(), "text/plain", if_none_match=make().etag).status_code == 304
    packed = get(make(), "text/plain", accept_encoding="gzip")
    assert gzip.decompress(packed.get_body()) == whole.get_body()


def test_the_app_starts_without_what_makes_them() -> None:
    program = "import function_app, json, sys; print(json.dumps([*sys.modules]))"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, check=True).stdout
    assert {name for name in json.loads(told) if "openapi" in name} == {"functions.openapi"}


def test_the_host_serves_both(client: httpx.Client) -> None:
    answer = client.get("/api/openapi.json")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == DOCUMENT
    page = client.get("/api/docs")
    assert page.text == openapi_page.render(DOCUMENT)
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for link in Page(page.text).links:
        assert link.startswith("#") or client.get(page.url.join(link)).status_code == 200


def test_what_the_host_answers_is_what_the_document_says(client: httpx.Client) -> None:
    for path in ("/api/health/live", "/api/health/ready", "/api/rotation", "/v2/health/live", "/v2/health/ready"):
        answer = client.get(path)
        told = DOCUMENT["paths"][path]["get"]["responses"][str(answer.status_code)]
        kind = answer.headers["Content-Type"].split(";")[0]
        assert fits(told["content"][kind]["schema"], answer.json()), path
