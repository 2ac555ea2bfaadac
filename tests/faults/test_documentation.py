"""docs/errors.md, the code and the tests speak of the same problem types."""

from pathlib import Path

import pytest

from functions.answers import PROBLEM_TYPE
from shared import errors
from shared.errors import GatewayError
from tests.faults.documented import PAGE, examples

TYPES = {
    kind.slug: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GatewayError) and kind is not GatewayError
}


def test_the_page_lists_the_types_of_the_code_in_its_order() -> None:
    assert list(examples()) == list(TYPES)


@pytest.mark.parametrize("slug", TYPES)
def test_an_example_says_what_the_code_says(slug: str) -> None:
    example, kind = examples()[slug], TYPES[slug]

    assert example["type"] == PROBLEM_TYPE + slug
    assert (example["title"], example["status"], example.get("remedy")) == (kind.title, kind.status, kind.remedy)


@pytest.mark.parametrize("slug", TYPES)
def test_the_overview_has_a_row_for_each_type(slug: str) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| [`{slug}`]")]

    assert len(rows) == 1
    assert f"| {TYPES[slug].status} |" in rows[0]


@pytest.mark.parametrize("slug", TYPES)
def test_every_example_is_held_against_a_real_answer(slug: str) -> None:
    folders = (Path(__file__).parent, Path(__file__).parent.parent / "rotation")
    sources = "".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("test_*.py"))

    assert "documents(" in sources
    assert f'"{slug}"' in sources
