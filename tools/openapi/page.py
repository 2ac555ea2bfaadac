"""The OpenAPI document as a web page: static HTML without a script, made from ``page.html.jinja``.

Well-known viewers (Swagger UI, Redoc, Scalar, RapiDoc, Stoplight Elements) need inline styles, which the page's
Content-Security-Policy forbids, or have accessibility errors.
"""

import json
from pathlib import Path

import jinja2

from tools.openapi.elements import Json


def render(document: Json) -> str:
    """The page of a document; all text of the document is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["resolve"] = lambda element: _resolve(document, element)
    environment.filters["indented"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["anchor"] = lambda name: name.lower().replace(" ", "-")
    return environment.get_template("page.html.jinja").render(document).lstrip()


def _resolve(document: Json, element: Json) -> Json:
    """The component that an element refers to, or the element itself."""
    if "$ref" not in element:
        return element
    found = document
    for step in element["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found
