"""Automated accessibility checks of a page."""

from typing import Any

import pytest
from playwright.async_api import Page

from tests.system.browser.setup import AXE, COMMAND, is_axe_installed


async def violations(page: Page, least_passes: int = 21) -> list[str]:
    """The violations of the Web Content Accessibility Guidelines and of best practices that axe-core finds."""
    if not is_axe_installed():
        pytest.fail(f"axe-core is missing: run {COMMAND}")
    # The last expression must be serializable.
    await page.evaluate(AXE.read_text(encoding="utf-8") + "\n;undefined")
    results: dict[str, Any] = await page.evaluate("axe.run()")
    assert len(results["passes"]) >= least_passes  # the checks were run
    return [
        f"{each['id']}: {each['help']} {[node['html'] for node in each['nodes']]}" for each in results["violations"]
    ]


async def has_visible_focus(page: Page) -> bool:
    """Whether the focused element has an outline."""
    width: str = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    return float(width.removesuffix("px")) >= 2
