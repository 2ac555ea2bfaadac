"""The examples of docs/errors.md, which tests hold against what the gateway really answers."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from functions.answers import PROBLEM_TYPE
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "errors.md"

_SECTION = re.compile(r"^### `(?P<slug>[a-z0-9-]+)`\n(?P<text>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


@cache
def examples() -> Mapping[str, Mapping[str, Any]]:
    """The example document of each problem type, by its slug."""
    found = {}
    for section in _SECTION.finditer(PAGE.read_text(encoding="utf-8")):
        example = _EXAMPLE.search(section["text"])
        assert example, f"docs/errors.md shows no example of {section['slug']}"
        found[section["slug"]] = json.loads(example[1])
    return found


def documents(slug: str, document: Mapping[str, Any]) -> bool:
    """Whether a problem document is, but for its request, the one that the page shows for ``slug``."""
    assert document["type"] == PROBLEM_TYPE + slug, document
    shown, given = dict(examples()[slug]), dict(document)
    assert shown.pop("request_id")
    assert given.pop("request_id")
    assert given == shown
    return True
