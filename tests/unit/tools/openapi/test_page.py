"""The page that is generated from the OpenAPI document."""

from tests.conftest import ROOT
from tests.support.html_page import Page
from tools.openapi import document, page

DOCUMENT = document.build()


def test_the_page_contains_every_operation_problem_and_schema() -> None:
    shown = Page(page.render(DOCUMENT))
    for path, item in DOCUMENT["paths"].items():
        assert path in shown.text
        assert {one["operationId"] for one in item.values()} <= set(shown.ids)
    assert {f"problem-{name}" for name in DOCUMENT["components"]["examples"]} <= set(shown.ids)
    assert {f"schema-{name}" for name in DOCUMENT["components"]["schemas"]} <= set(shown.ids)


def test_the_page_has_no_script_and_every_link_has_a_target() -> None:
    text = page.render(DOCUMENT)
    shown = Page(text)
    assert shown.inline == []
    assert "<script" not in text
    assert len(shown.ids) == len(set(shown.ids))
    served = {f"../web/{file.name}" for file in (ROOT / "web").iterdir()} | {"openapi.json"}
    assert shown.links <= served | {f"#{name}" for name in shown.ids}


def test_text_of_the_document_is_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    info = {**DOCUMENT["info"], "title": hostile, "description": hostile}
    path = {"/<script>": DOCUMENT["paths"]["/api/score"]}
    assert Page(page.render({**DOCUMENT, "info": info, "paths": path})).inline == []
