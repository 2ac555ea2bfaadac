"""The documentation's links lead to files and headings that exist."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.markdown import anchors, links

PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "clients/*/*.md", "benchmarks/**/*.md") for page in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link
