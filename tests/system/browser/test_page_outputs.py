"""The page with a service that returns the model's outputs, or its scores, and no labels."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.processes import ServerProcess
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.conftest import OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def gateway(stack: StackProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app on another host; one service returns its outputs, the other one scores."""
    folder = tmp_path_factory.mktemp("outputs")
    with ServerProcess(
        "devstack.host",
        *("--app", ROOT, "--port", "0", "--state", folder, "--quiet"),
        log=Path(folder, "log"),
        environment={
            **os.environ,
            **stack.settings,
            "SERVICE__IMAGENET_TENSOR__OUTPUT": "raw",
            "SERVICE__IMAGENET__OUTPUT": "scores",
        },
    ) as host:
        yield host.address


async def test_outputs_have_their_names_shapes_and_first_numbers(open_tab: OpenTab, gateway: str) -> None:
    tab = await open_tab(gateway)
    await tab.choose(photo("coffee"))
    await tab.card("coffee.png").and_(tab.page.locator("[data-state=done]")).wait_for()
    assert await tab.page.locator(".outputs dt").all_inner_texts() == ["scores [1000]"]

    await tab.page.get_by_label("Service").select_option("imagenet-tensor")
    await tab.choose(photo("rocket"))
    card = tab.card("rocket.jpg")
    await card.and_(tab.page.locator("[data-state=done]")).wait_for()

    assert await card.locator(".outputs dt").all_inner_texts() == ["output_alias FP32 [1, 1000]"]
    values = (await card.locator(".outputs dd").inner_text()).split()
    assert len(values) == 9
    assert values[-1] == "…"
    assert 0 <= float(values[0]) < 1
    assert "rocket.jpg: output_alias FP32 [1, 1000]" in await tab.announcements()
