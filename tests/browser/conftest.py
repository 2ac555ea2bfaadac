"""A real Chromium, and gateways for it: the session's own, and one that asks for keys and has lost a service."""

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.browser.setup import COMMAND, system_browser
from tests.conftest import ROOT, Stack
from tests.devstack.processes import Running

# A stuck page fails the test in seconds; a slow machine does not. In milliseconds.
PATIENCE = 30_000

# Chromium's own services, which would look for hosts outside.
_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, started once a file of tests."""
    async with async_playwright() as playwright:
        path = system_browser() or Path(playwright.chromium.executable_path)
        if not path.exists():
            pytest.fail(f"there is no Chromium for the tests: run {COMMAND}")
        # Chromium's sandbox does not start for root.
        flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        chromium = await playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield chromium
        finally:
            await chromium.close()


@dataclass
class Visit:
    """A visitor's tab at the page, and what went wrong in it: complaints of scripts and of the security policy."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def choose(self, *files: Path | dict[str, Any]) -> None:
        """Choose files as by the button."""
        async with self.page.expect_file_chooser() as chooser:
            await self.page.get_by_role("button", name="Choose pictures").click()
        await (await chooser.value).set_files(list(files))  # type: ignore[arg-type]  # each is a path, or all are contents

    def card(self, name: str) -> Any:
        """The card of a file."""
        return self.page.locator(".card", has=self.page.get_by_role("heading", name=name, exact=True))

    async def until_scored(self, name: str) -> str:
        """Wait for a card's labels; returns the best."""
        card = self.card(name)
        await card.and_(self.page.locator("[data-state=done]")).wait_for()
        return str(await card.locator(".label").first.inner_text())

    async def until_failed(self, name: str) -> str:
        """Wait for a card's problem; returns its words."""
        card = self.card(name)
        await card.and_(self.page.locator("[data-state=failed]")).wait_for()
        return str(await card.locator(".problem").inner_text())

    async def spoken(self) -> str:
        """What those who listen have been told."""
        return await self.page.locator("#announcer").inner_text()

    def hear(self, message: ConsoleMessage) -> None:
        # A refused upload is reported by Chromium itself, and is what some tests are about.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)


type Visiting = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, stack: Stack) -> AsyncIterator[Visiting]:
    """Opens the page in a new, empty profile; afterwards no script and no policy may have complained."""
    visits: list[Visit] = []

    async def open_page(url: str = "", **options: Any) -> Visit:
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        made = Visit(await context.new_page(), context)
        visits.append(made)
        made.page.on("console", made.hear)
        # Otherwise Chromium would be told to leave choosers to the test only while one is being waited for, and might
        # hear of it too late.
        made.page.on("filechooser", lambda _: None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        await made.page.goto(f"{url or stack.url}/")
        await made.page.locator("#state:not([data-state=unknown])").wait_for()
        return made

    yield open_page
    for each in visits:
        await each.context.close()
    assert [complaint for each in visits for complaint in each.complaints] == []


@dataclass(frozen=True)
class Guarded:
    """A gateway that asks for keys, may be called from the origin ``friend``, and whose second service is away."""

    url: str
    key: str
    friend: str


@pytest.fixture(scope="module")
def friend_port() -> int:
    """A free port, for a web app on another origin."""
    return _free_port()


@pytest.fixture(scope="module")
def guarded(stack: Stack, friend_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The app on a host of its own, beside the session's stack, whose model it uses."""
    folder, friend = tmp_path_factory.mktemp("guarded"), f"http://127.0.0.1:{friend_port}"
    with Running(
        "devstack.host",
        *("--app", ROOT, "--port", "0", "--state", folder, "--quiet"),
        *("--enable-auth", "--cors", friend),
        log=folder / "log",
        environment={**os.environ, **stack.settings, "SERVICE__IMAGENET_TENSOR__PORT": str(_free_port())},
    ) as host:
        keys = json.loads((folder / "host-keys.json").read_text())
        yield Guarded(host.address, keys["default"], friend)


def _free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
