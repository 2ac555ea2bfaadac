"""The committed files that ``make openapi`` generates."""

import json

import pytest

from tests.conftest import ROOT
from tools.openapi import document
from tools.openapi.__main__ import generate

GENERATED = generate()


@pytest.mark.parametrize("name", GENERATED)
def test_the_committed_file_is_current(name: str) -> None:
    assert (ROOT / "web" / name).read_bytes().decode() == GENERATED[name], "run make openapi"


def test_the_serialized_document_has_a_line_for_each_operation() -> None:
    built = document.build()
    text = document.serialize(built)
    assert json.loads(text) == json.loads(json.dumps(built))
    counts = [line.count('"operationId":') for line in text.splitlines() if "operationId" in line]
    assert counts == [1 for item in built["paths"].values() for _ in item]
