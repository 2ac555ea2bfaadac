"""The operations page: the master key, what is shown of whom, the buttons, refreshing, and accessibility."""

import copy
import json
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # published without types
from playwright.async_api import Page, Route

from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.accessibility import has_visible_focus, violations
from tests.system.browser.conftest import KeyedGateway, OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
DOCUMENT = json.loads((ROOT / "web" / "openapi.json").read_text(encoding="utf-8"))

type OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture
def open_page(new_tab: OpenTab, stack: StackProcess) -> OpenPage:
    """Opens the page in a new tab, and enters a key: by default none, as a developer's machine needs none."""

    async def opened(url: str = "", key: str | None = "", **options: Any) -> Page:
        tab = await new_tab(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        page: Page = tab.page
        await page.goto(f"{url or stack.url}/operations")
        if key is not None:
            await enter(page, key)
            await page.locator("#shared").wait_for()
        return page

    return opened


@pytest.fixture
def report(client: httpx.Client) -> Any:
    """What the stack's gateway answers."""
    return client.get("/api/operations").json()


async def enter(page: Page, key: str) -> None:
    await page.get_by_label("Master key").fill(key)
    await page.get_by_label("Master key").press("Enter")


def service(page: Page, name: str) -> Any:
    """The article of a service among what all instances share."""
    return page.locator("#services").get_by_role("article", name=name, exact=True)


async def part(page: Page, name: str, title: str) -> str:
    """The text of a part of a service."""
    heading = page.get_by_role("heading", name=title, exact=True, level=4)
    return str(await service(page, name).locator("section", has=heading).inner_text())


async def answer_with(page: Page, document: Any) -> None:
    """Have the gateway answer the page's next reads with a document, which must be as documented."""
    schema = DOCUMENT["paths"]["/api/operations"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({"allOf": [schema], "components": DOCUMENT["components"]}).validate(document)
    await page.route("**/api/operations", lambda route: route.fulfill(json=document))


async def test_only_the_master_key_shows_the_operations_and_only_in_its_tab(
    open_page: OpenPage, keyed_gateway: KeyedGateway
) -> None:
    page = await open_page(keyed_gateway.url, key=None)
    key = page.get_by_label("Master key")
    for wrong, said in (("", "The master key is required."), (keyed_gateway.key, "The master key is wrong.")):
        await enter(page, wrong)
        await page.locator("#notice").get_by_text(said).wait_for()
        assert "A function key is not enough" in await page.locator("#notice").inner_text()
        assert await key.get_attribute("aria-invalid") == "true"
        assert await key.evaluate("input => input === document.activeElement")
        assert await page.locator("#shared").is_hidden()
        assert await page.evaluate("sessionStorage.length") == 0
    await enter(page, keyed_gateway.master_key)
    await page.locator("#shared").wait_for()
    assert await page.locator("#notice").is_hidden()

    # The second service is down, and hides nothing of the first.
    assert "The inference service cannot be reached" in await part(page, "imagenet-tensor", "Served")
    assert "The same is pinned and stored." in await part(page, "imagenet", "Served")
    assert "none in progress. Nothing to do." in await part(page, "imagenet", "Keys in Key Vault")
    attention = (await page.locator("#concerns").inner_text()).splitlines()
    assert attention[:3] == ["Needs attention", "imagenet-tensor", "Served: The inference service cannot be reached."]
    assert attention[3].startswith("Not ready on this instance: ")

    # What only this instance sees is apart, and marked with its id.
    own = page.get_by_role("region", name="Seen by this instance alone")
    assert f"Instance {socket.gethostname()}, process " in await own.inner_text()
    ready = own.get_by_role("article", name="imagenet", exact=True)
    assert "0 of 64 images in progress" in await ready.inner_text()
    assert await own.get_by_role("article", name="imagenet-tensor").locator(".badge").inner_text() == "Not ready"

    await page.reload()
    await page.locator("#shared").wait_for()
    other = await page.context.new_page()
    await other.goto(f"{keyed_gateway.url}/operations")
    assert await other.locator("#shared").is_hidden()
    assert await page.evaluate("localStorage.length + document.cookie.length") == 0
    assert keyed_gateway.master_key not in await page.content()

    await page.get_by_role("button", name="Forget the key").click()
    assert await page.locator("#shared").is_hidden()
    assert await page.locator("#services").inner_text() == ""
    assert await key.input_value() == ""
    assert await page.evaluate("sessionStorage.length") == 0


async def test_each_button_says_beforehand_what_it_does_and_shows_the_result(open_page: OpenPage) -> None:
    page = await open_page()
    sent: list[dict[str, Any]] = []

    async def recorded(route: Route) -> None:
        """Record the request; other tests use the stack's keys, which are not rotated therefore."""
        body = json.loads(route.request.post_data or "")
        sent.append(body)
        await route.continue_(post_data=json.dumps({**body, "dry_run": True} if "rotate_keys" in body else body))

    await page.route("**/api/rotation", recorded)
    one, dialog = service(page, "imagenet"), page.get_by_role("dialog")

    await one.get_by_role("button", name="Dry run").click()
    await one.get_by_text("Dry run: nothing was changed").wait_for()
    assert await dialog.is_hidden()
    assert "Next: Nothing to do." in await one.locator(".result").inner_text()

    for label, said in (
        ("Run now", "It shortens no waiting time."),
        ("Rotate keys", "Both keys are replaced, one after the other"),
        ("Retry", "Pauses after failures are skipped"),
    ):
        button = one.get_by_role("button", name=label)
        await button.focus()
        await page.keyboard.press("Enter")
        assert said in await dialog.inner_text()
        assert await page.evaluate("document.activeElement.id") == "cancel"
        assert await violations(page, least_passes=10) == []  # of the dialog; all else is inert
        await page.keyboard.press("Escape")
        assert await button.evaluate("element => element === document.activeElement")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        assert await has_visible_focus(page)
        await page.keyboard.press("Enter")
        await one.get_by_text(re.compile(f"{label}: (done|there was no step to take now)")).wait_for()
        assert await dialog.is_hidden()
        assert f"imagenet: {label}: " in await page.locator("#announcer").inner_text()
    assert sent == [
        {"service": "imagenet", "dry_run": True},
        {"service": "imagenet"},
        {"service": "imagenet", "rotate_keys": True},
        {"service": "imagenet", "retry": True},
    ]
    assert await service(page, "imagenet-tensor").get_by_role("button").count() == 0

    # A problem of a run is shown with its remedy.
    await page.unroute("**/api/rotation")
    problem = DOCUMENT["components"]["examples"]["rotation-busy"]["value"]
    await page.route("**/api/rotation", lambda route: route.fulfill(status=409, json=problem))
    await one.get_by_role("button", name="Dry run").click()
    await one.get_by_text("Dry run: A rotation of the service is in progress").wait_for()
    assert problem["remedy"] in await one.locator(".result").inner_text()


async def test_the_page_refreshes_while_it_is_visible_and_says_when_it_cannot(open_page: OpenPage) -> None:
    page = await open_page(key=None)
    await page.clock.install()
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url) if "/api/" in request.url else None)
    await enter(page, "")
    await page.locator("#shared").wait_for()

    async def next_read(do: Awaitable[Any]) -> None:
        async with page.expect_response("**/api/operations"):
            await do
        await page.locator("#refresh:not([aria-busy])").wait_for()

    await page.locator("#events-imagenet").focus()
    await next_read(page.clock.run_for(30_000))
    assert await page.evaluate("document.activeElement.id") == "events-imagenet", "the focus stays"
    await next_read(page.get_by_role("button", name="Refresh").click())
    assert len(reads) == 3

    await page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true })")
    await page.clock.run_for(120_000)
    assert len(reads) == 3
    await page.evaluate("Object.defineProperty(document, 'visibilityState', { value: 'visible' })")
    await next_read(page.evaluate("document.dispatchEvent(new Event('visibilitychange'))"))

    await page.context.set_offline(True)
    await page.get_by_role("button", name="Refresh").click()
    await page.locator("#notice").get_by_text("What is shown is from").wait_for()
    assert await page.locator("#state-text").inner_text() == "Not refreshed"
    assert await service(page, "imagenet").is_visible()
    await page.context.set_offline(False)
    await next_read(page.clock.run_for(30_000))
    assert await page.locator("#notice").is_hidden()


def in_trouble(report: Any) -> Any:
    """A gateway's answer as it is when much is wrong, made of a real one."""
    report = copy.deepcopy(report)
    examples = DOCUMENT["components"]["examples"]
    problem = {slug: dict(examples[slug]["value"]) for slug in ("vault-unreachable", "service-unreachable")}
    shared, own = report["shared"], report["instance"]["services"]
    one = shared["services"]["imagenet"]
    [address] = one["served"]["addresses"]
    certificate = address["certificate"]
    one["served"]["addresses"] += [{"address": "10.0.0.2", "problem": problem["service-unreachable"]}]
    soon = {**certificate, "fingerprint": "b0" * 32, "days_left": 12.5, "subject": "CN=soon"}
    one["pinned"]["certificates"] = [{**certificate, "days_left": 1.5}, soon]
    one["stored"]["certificate"] |= {"fingerprint": "c0" * 32, "days_left": -3.2, "refusal": "it expired <b>then</b>"}
    one["rotation"] |= {
        "phase": "stopped",
        "next_step": {"action": "stop", "reason": "certificate-refused", "detail": "it expired", "until": None},
        "last_error": "certificate-refused: it expired",
        "steps": [
            {"phase": step["phase"], "state": "stopped" if step["phase"] == "pinning" else "ahead"}
            for step in one["rotation"]["steps"]
        ],
        "failed": [
            {"fingerprint": "b0" * 32, "reason": "update-failed", "detail": "no accelerator", "at": report["at"]}
        ],
    }
    for name in ("pinned", "keys"):
        shared["services"]["imagenet-tensor"][name] = {"problem": problem["vault-unreachable"]}
    shared["traffic"]["all"] = {"imagenet": 90, "imagenet-tensor": 10}
    away = {"weight": 10, "share": 0, "state": "not-ready", "why": "service-unreachable"}
    members = {"imagenet": {"weight": 90, "share": 1, "state": "ready"}, "imagenet-tensor": away}
    own["all"] = {"status": "ready", "members": members, "refusals": {}, "errors": {}}
    own["imagenet-tensor"] |= {
        "status": "not-ready",
        "problem": problem["service-unreachable"],
        "credentials": {"age_seconds": 4000.0, "stale": True, "problem": problem["vault-unreachable"]},
        "golden": {"result": "3 of 4", "first_deviation": "coffee.png: another class"},
        "admission": {"limit": 16, "in_progress": 9, "with_service": 5},
        "refusals": {"limit": 31, "deadline": 2},
        "errors": {"keys-refused": 7},
    }
    report["instance"]["status"] = "not-ready"
    return report


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
async def test_trouble_is_accessible(open_page: OpenPage, report: Any, scheme: str, viewport: dict[str, int]) -> None:
    page = await open_page(key=None, color_scheme=scheme, viewport=viewport, has_touch=viewport is NARROW)
    assert await violations(page) == []
    await answer_with(page, in_trouble(report))
    await enter(page, "")
    await page.locator("#shared").wait_for()

    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    for button in await page.locator("button:visible").all():
        box = await button.bounding_box()
        assert box
        assert box["height"] >= 44, await button.inner_text()

    # By keyboard: the list of what needs attention leads to the service, and each control has a visible focus.
    await page.get_by_role("link", name="imagenet", exact=True).press("Enter")
    assert page.url.endswith("#service-imagenet")
    reached = []
    for _ in range(5):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id"))
        assert await has_visible_focus(page), reached
    assert reached == ["events-imagenet", "dry-imagenet", "run-imagenet", "keys-imagenet", "retry-imagenet"]
    await page.keyboard.press("Enter")
    said = await page.get_by_role("dialog").inner_text()
    assert "Failed: b0b0b0b0b0b0b0b0, update-failed, at " in said


async def test_trouble_is_named_in_words(open_page: OpenPage, report: Any) -> None:
    page = await open_page(key=None)
    await answer_with(page, in_trouble(report))
    await enter(page, "")
    await page.locator("#shared").wait_for()

    served, pinned = await part(page, "imagenet", "Served"), await part(page, "imagenet", "Pinned")
    assert "89 days left" in served or "90 days left" in served
    assert "10.0.0.2" in served
    assert "The inference service cannot be reached" in served
    assert "Urgent: 36 hours left" in pinned
    assert "Soon: 12 days left" in pinned
    assert "Only here." in pinned
    stored = await part(page, "imagenet", "Stored")
    assert "Expired 3 days ago" in stored
    assert "Must not be used: it expired <b>then</b>" in stored, "text, not markup"
    # The bars' widths are the shares of the whole validity that are left.
    share = "element => element.getBoundingClientRect().width / element.parentElement.clientWidth"
    fills = service(page, "imagenet").locator(".days .fill")
    assert [round(await one.evaluate(share), 1) for one in await fills.all()] == [1.0, 0.0, 0.1, 0.0]

    rotation = await part(page, "imagenet", "Rotation")
    assert "Stopped: certificate-refused. It expired. A person, or another certificate, is needed." in rotation
    steps = service(page, "imagenet").get_by_role("listitem")
    assert " ".join((await steps.first.inner_text()).split()) == "Pin stopped here"
    assert await steps.first.get_attribute("aria-current") == "step"
    assert "certificate-verified" in await service(page, "imagenet").get_by_role("table").inner_text()
    assert "Only here." not in await part(page, "imagenet-tensor", "Served"), "the pins are not known"
    assert "Key Vault cannot be reached" in await part(page, "imagenet-tensor", "Keys in Key Vault")
    assert "imagenet-tensor\n10 (10%)" in await service(page, "all").inner_text()

    own = page.get_by_role("region", name="Seen by this instance alone")
    shares = await own.get_by_role("article", name="all", exact=True).inner_text()
    assert "0% of the requests now, weight 10, not-ready: service-unreachable" in shares
    tensor = await own.get_by_role("article", name="imagenet-tensor").inner_text()
    assert "9 of 16 images in progress: 5 with the service, 4 waiting or being prepared" in tensor
    assert "limit 31, deadline 2" in tensor
    assert "read 66 minutes ago; stale: Key Vault cannot be read" in tensor
    attention = await page.locator("#concerns").inner_text()
    assert "Rotation: certificate-refused: it expired." in attention
    assert "3 of 4: coffee.png: another class" in tensor
    assert "Golden photographs: 3 of 4 match." in attention
    assert "This instance's keys and pins are not renewed." in attention
