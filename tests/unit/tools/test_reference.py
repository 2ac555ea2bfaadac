"""The generated reference pages are current, and their examples are covered by tests."""

import re
from pathlib import Path

import pytest

from shared.errors import problem_types
from tests.conftest import ROOT
from tools.reference.__main__ import pages
from tools.reference.examples import EXAMPLES

SLUGS = [kind.slug for kind in problem_types()]


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_a_page_is_current(path: Path) -> None:
    """If it is not, run ``make reference``."""
    assert path.read_text(encoding="utf-8") == pages()[path]


def test_every_problem_type_has_an_example() -> None:
    assert list(EXAMPLES) == SLUGS


@pytest.mark.parametrize("slug", SLUGS)
def test_every_example_is_compared_with_a_real_response(slug: str) -> None:
    texts = (file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))

    assert any(f'"{slug}"' in text for text in texts if "tests.support.documented_errors" in text)


def test_every_link_to_an_error_has_a_target() -> None:
    links = {
        (page.name, slug)
        for page in (ROOT / "docs").rglob("*.md")
        for slug in re.findall(r"errors\.md#([a-z-]+)", page.read_text(encoding="utf-8"))
    }

    assert {slug for _, slug in links} <= {*SLUGS, "key-vault-and-the-identity"}
