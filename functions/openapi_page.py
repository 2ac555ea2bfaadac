"""The OpenAPI document as a page for people: plain HTML, whole as it is sent, without a script.

What can be folded is a ``details`` element. The id that a link leads to stands within it, not on it: so browsers open
it by themselves (https://html.spec.whatwg.org/multipage/interaction.html#ancestor-revealing-algorithm).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

type Json = dict[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")


def render(document: Json) -> str:
    """The whole page."""
    return "".join(_page(document))


def _page(document: Json) -> Iterator[str]:
    info, tags = document["info"], document["tags"]
    yield (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(info['title'])}: the HTTP API</title>"
        '<link rel="icon" href="../web/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="../web/style.css"><link rel="stylesheet" href="../web/docs.css">'
        '</head><body class="docs">'
        '<a class="skip" href="#content">Skip to the operations</a><header class="bar"><p class="brand">'
        '<img src="../web/icon.svg" alt="" width="28" height="28">'
        f'{escape(info["title"])}</p><p class="state"><a href="openapi.json">openapi.json</a></p></header><main>'
        f'<section class="intro"><h1>The HTTP API</h1><p>{escape(info["description"])}</p></section>'
    )
    yield _contents(tag["name"] for tag in tags)
    yield '<div id="content" tabindex="-1">'
    for tag in tags:
        yield f'<section class="group"><h2 id="{_slug(tag["name"])}">{escape(tag["name"])}</h2>'
        yield f"<p>{escape(tag['description'])}</p>"
        for path, item in document["paths"].items():
            yield from (
                _operation(document, method, path, item)
                for method in _METHODS
                if method in item and tag["name"] in item[method]["tags"]
            )
        yield "</section>"
    yield _problems(document)
    yield _schemas(document["components"]["schemas"])
    yield "</div></main></body></html>"


def _contents(names: Iterable[str]) -> str:
    links = "".join(f'<li><a href="#{_slug(name)}">{escape(name)}</a></li>' for name in (*names, "Problems", "Schemas"))
    return f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>'


# --- Operations ---------------------------------------------------------------------------------------------------


def _operation(document: Json, method: str, path: str, item: Json) -> str:
    found = item[method]
    words = [found["description"]] if "description" in found else []
    if method == "get" and "head" in item:
        words.append("HEAD is answered as well.")
    told = "".join(f"<p>{escape(text)}</p>" for text in words)
    return (
        f'<details class="operation"><summary><h3><b class="method {method}">{method.upper()}</b> '
        f"<code>{escape(path)}</code></h3> <span>{escape(found['summary'])}</span></summary>"
        f'<div class="inside" id="{found["operationId"]}">{told}{_keys(document, found)}{_parameters(document, found)}'
        f"{_body(found)}{_responses(document, found)}</div></details>"
    )


def _keys(document: Json, found: Json) -> str:
    schemes = [document["components"]["securitySchemes"][name] for one in found["security"] for name in one]
    if not schemes:
        return "<p>No key is needed.</p>"
    places = [f"<code>{escape(one['name'])}</code> ({one['in']})" for one in schemes]
    return f"<p>Key: {' or '.join(places)}. {escape(schemes[0]['description'])}</p>"


def _parameters(document: Json, found: Json) -> str:
    if "parameters" not in found:
        return ""
    rows = (_parameter(_resolved(document, one)) for one in found["parameters"])
    return "<h4>Parameters</h4>" + _table(("name", "in", "value", "meaning"), rows)


def _parameter(one: Json) -> tuple[str, ...]:
    example = f" For example <code>{escape(str(one['example']))}</code>." if "example" in one else ""
    needed = " <em>required</em>" if one.get("required") else ""
    return (
        f"<code>{escape(one['name'])}</code>{needed}",
        one["in"],
        _kind(one["schema"]),
        escape(one["description"]) + example,
    )


def _body(found: Json) -> str:
    if "requestBody" not in found:
        return ""
    body = found["requestBody"]
    title = "Body" if body.get("required") else "Body, if any"
    words = f"<p>{escape(body['description'])}</p>" if "description" in body else ""
    return f"<h4>{title}</h4>{words}{_content(body['content'])}"


def _responses(document: Json, found: Json) -> str:
    return "<h4>Answers</h4>" + "".join(_response(document, status, one) for status, one in found["responses"].items())


def _response(document: Json, status: str, one: Json) -> str:
    headers = "".join(
        f"<p>Header <code>{escape(name)}</code>: {escape(_resolved(document, header)['description'])}</p>"
        for name, header in one.get("headers", {}).items()
    )
    problems = one.get("content", {}).get("application/problem+json")
    content = _slugs(problems["examples"]) if problems else _content(one.get("content", {}))
    title = f'<b class="status s{status[0]}">{status}</b> {escape(one["description"])}'
    if not headers and not content:
        return f'<p class="answer">{title}</p>'
    return f'<details class="answer"><summary>{title}</summary><div class="inside">{headers}{content}</div></details>'


def _slugs(names: Iterable[str]) -> str:
    links = "".join(f'<li><a href="#problem-{name}">{name}</a></li>' for name in names)
    return f'<p><code>application/problem+json</code>, of one of the types:</p><ul class="slugs">{links}</ul>'


def _content(content: Mapping[str, Json]) -> str:
    return "".join(
        f"<p><code>{escape(kind)}</code>: {_kind(one['schema'])}</p>"
        + "".join(_example(example["value"]) for example in one.get("examples", {}).values())
        for kind, one in content.items()
    )


def _example(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f'<pre tabindex="0" role="group" aria-label="Example"><code>{escape(text)}</code></pre>'


# --- Problems and schemas -------------------------------------------------------------------------------------------


def _problems(document: Json) -> str:
    rows = (
        (
            f'<code id="problem-{name}">{name}</code>',
            str(one["value"]["status"]),
            escape(one["value"]["detail"]),
            escape(one["value"].get("remedy", "")),
        )
        for name, one in document["components"]["examples"].items()
    )
    table = _table(("type", "status", "cause", "remedy"), rows)
    words = "<p>A type is <code>urn:problem-type:scoring-gateway:</code> and one of these names.</p>"
    return f'<section class="group"><h2 id="problems">Problems</h2>{words}{table}</section>'


def _schemas(schemas: Mapping[str, Json]) -> str:
    listed = "".join(_schema(name, one) for name, one in schemas.items())
    return f'<section class="group"><h2 id="schemas">Schemas</h2>{listed}</section>'


def _schema(name: str, one: Json) -> str:
    words = f"<p>{escape(one['description'])}</p>" if "description" in one else ""
    return (
        f"<details><summary><h3><code>{name}</code></h3></summary>"
        f'<div class="inside" id="schema-{name}">{words}{_members(one)}</div></details>'
    )


def _members(one: Json) -> str:
    if "properties" not in one:
        return ""
    needed = one.get("required", ())
    return _table(
        ("member", "value", "meaning"),
        (
            (
                f"<code>{escape(name)}</code>{' <em>required</em>' if name in needed else ''}",
                _kind(member),
                escape(member.get("description", "")) + _nested(member),
            )
            for name, member in one["properties"].items()
        ),
    )


def _nested(member: Json) -> str:
    """The members of an object, or of a list's objects, that have no name of their own."""
    return _members(member) or _members(member.get("items", {}))


def _kind(one: Json) -> str:
    """What a value is, in a few words."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if "enum" in one:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in one["enum"])
    if "const" in one:
        return f"<code>{escape(str(one['const']))}</code>"
    if "contentMediaType" in one:
        return "bytes"
    if "oneOf" in one and "type" not in one:
        return " or ".join(_kind(choice) for choice in one["oneOf"])
    kinds = one.get("type", "any")
    return " or ".join(_simple(kind, one) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def _simple(kind: str, one: Json) -> str:
    if kind == "array":
        return f"list of {_kind(one['items'])}"
    more = one.get("additionalProperties")
    if kind == "object" and more:
        return f"object of {_kind(more)}"
    return escape(kind) + _range(one)


def _range(one: Json) -> str:
    low, high = one.get("minimum"), one.get("maximum")
    limits = [f"from {low}"] if low is not None else []
    limits += [f"to {high}"] if high is not None else []
    return f" {' '.join(limits)}" if limits else ""


# --- The rest -----------------------------------------------------------------------------------------------------


def _resolved(document: Json, one: Json) -> Json:
    found: Json = document
    if "$ref" not in one:
        return one
    for step in one["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def _table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table, whose rows a narrow screen shows as blocks: so each cell tells its column, and all tell their roles."""
    head = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in heads)
    body = "".join(
        '<tr role="row">'
        + "".join(f'<td role="cell" data-head="{name}">{cell}</td>' for name, cell in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<table role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")
