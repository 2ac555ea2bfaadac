"""Chromium, and gateways for it: the session's stack, and one that requires keys and whose second service is down."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.conftest import ROOT
from tests.support.devstack.processes import ServerProcess, unused_port
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.setup import COMMAND, system_browser

# In milliseconds: a page that hangs fails the test, but a slow machine does not.
TIMEOUT_MS = 30_000

# Turn off Chromium's own services, which send requests to other hosts.
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
    """Chromium, started once per module."""
    async with async_playwright() as playwright:
        path = system_browser() or Path(playwright.chromium.executable_path)
        if not path.exists():
            pytest.fail(f"there is no Chromium for the tests: run {COMMAND}")
        # Chromium's sandbox cannot be used as root.
        flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        chromium = await playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield chromium
        finally:
            await chromium.close()


@dataclass
class Tab:
    """A browser tab with the page; ``errors`` are those of its scripts and of the Content-Security-Policy."""

    page: Page
    context: BrowserContext
    errors: list[str] = field(default_factory=list)

    async def choose(self, *files: Path | dict[str, Any]) -> None:
        """Choose files with the button."""
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
        """Wait for a card's problem; returns its text."""
        card = self.card(name)
        await card.and_(self.page.locator("[data-state=failed]")).wait_for()
        return str(await card.locator(".problem").inner_text())

    async def announcements(self) -> str:
        """The texts that screen readers announce."""
        return await self.page.locator("#announcer").inner_text()

    def record_console(self, message: ConsoleMessage) -> None:
        # Chromium also reports error responses, which some tests provoke.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)


type OpenTab = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def new_tab(browser: Browser) -> AsyncIterator[OpenTab]:
    """Opens tabs, each in a new profile; at the end, there must be no errors in them."""
    tabs: list[Tab] = []

    async def new(**options: Any) -> Tab:
        context = await browser.new_context(**options)
        context.set_default_timeout(TIMEOUT_MS)
        tab = Tab(await context.new_page(), context)
        tabs.append(tab)
        tab.page.on("console", tab.record_console)
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        return tab

    yield new
    for tab in tabs:
        await tab.context.close()
    assert [error for tab in tabs for error in tab.errors] == []


@pytest.fixture
def open_tab(new_tab: OpenTab, stack: StackProcess) -> OpenTab:
    """Opens the page in a new tab."""

    async def open_page(url: str = "", **options: Any) -> Any:
        tab = await new_tab(**options)
        # Intercept file choosers at all times: interception that starts with waiting for one may start too late.
        tab.page.on("filechooser", lambda _: None)
        await tab.page.goto(f"{url or stack.url}/")
        await tab.page.locator("#state:not([data-state=unknown])").wait_for()
        return tab

    return open_page


@dataclass(frozen=True)
class KeyedGateway:
    """A gateway that requires keys, and whose second service is down."""

    url: str
    key: str
    master_key: str


@pytest.fixture(scope="module")
def app_port() -> int:
    """A free port for a web app on another origin."""
    return unused_port()


@pytest.fixture(scope="module")
def keyed_gateway(
    stack: StackProcess, app_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeyedGateway]:
    """The app on another host with the session's stack; CORS allows the origin http://127.0.0.1:``app_port``."""
    folder = tmp_path_factory.mktemp("keyed")
    with ServerProcess(
        "devstack.host",
        *("--app", ROOT, "--port", "0", "--state", folder, "--quiet"),
        *("--enable-auth", "--cors", f"http://127.0.0.1:{app_port}"),
        log=folder / "log",
        environment={**os.environ, **stack.settings, "SERVICE__IMAGENET_TENSOR__PORT": str(unused_port())},
    ) as host:
        keys = json.loads((folder / "host-keys.json").read_text())
        yield KeyedGateway(host.address, keys["default"], keys["master"])
