"""What is logged outside of an invocation is written by the next one, where the host would drop it."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from shared.telemetry import background_log, log, metrics
from shared.telemetry.background_log import KEPT, Invocation


class Host(logging.Handler):
    """Keeps the records of invocations in progress, as the Functions host does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.is_running = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_running:
            self.kept.append(f"{record.levelname} {record.getMessage()}")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(Host, "__module__", "proxy_worker.dispatcher")
    monkeypatch.setattr(log, "level", logging.INFO)
    handler = Host()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    background_log._kept.clear()


def invoke(host: Host, *texts: str) -> list[str]:
    """The records of an invocation that logs these texts."""
    host.kept, host.is_running = [], True
    with Invocation():
        for text in texts:
            log.info(text)
    host.is_running = False
    return host.kept


@pytest.mark.parametrize("times", [1, 3])
def test_records_made_outside_are_written_once_with_their_number_by_the_next_invocation(host: Host, times: int) -> None:
    for _ in range(times):
        log.warning("the vault is %s", "away")

    [own, late] = invoke(host, "inside")

    assert own == "INFO inside"
    assert late.startswith(
        f"WARNING the vault is away ({'3 times, the last ' if times == 3 else ''}outside of a request at 20"
    )
    assert invoke(host) == []


async def test_a_task_that_outlives_its_invocation_is_outside(host: Host) -> None:
    async def refresh() -> None:
        log.info("within")
        await asyncio.sleep(0)
        log.error("after it")

    host.is_running = True
    with Invocation():
        task = asyncio.ensure_future(refresh())
        await asyncio.sleep(0)
    host.is_running = False
    await task

    assert host.kept == ["INFO within"]
    [late] = invoke(host)
    assert late.startswith("ERROR after it (outside of a request at ")


def test_what_is_kept_has_a_limit(host: Host) -> None:
    for number in range(KEPT + 5):
        log.warning("trouble %d", number)

    assert len(invoke(host)) == KEPT


def test_elsewhere_nothing_is_written_twice(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("trouble")
    with Invocation():
        log.warning("more")

    assert caplog.messages == ["trouble", "more"]


def test_warnings_and_errors_are_counted_once_by_who_logged_them(host: Host) -> None:
    def counted() -> dict[tuple[str, ...], float]:
        return {key: value for key, value in metrics.LOG_RECORDS.read().items() if "test_background" in key[1]}  # type: ignore[misc]

    before = counted()
    log.info("nothing")
    log.warning("trouble")
    log.error("a fault")
    invoke(host)

    name = "test_background_log.test_warnings_and_errors_are_counted_once_by_who_logged_them"
    assert {key: value - before.get(key, 0) for key, value in counted().items()} == {
        ("warning", name): 1,
        ("error", name): 1,
    } | dict.fromkeys(before.keys() - {("warning", name), ("error", name)}, 0)
