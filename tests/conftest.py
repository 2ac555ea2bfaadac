"""Fixtures of the system tests: the local stack, started once, on free ports and with separate state."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import secrecy
from tests.support.devstack.stack_process import StackProcess

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Record the tests' output (:mod:`tests.support.secrecy`), and restore the default handling of signals.

    Processes that the tests start inherit ignored signals, as those of ``nohup`` or of a shell's background jobs.
    """
    config.pluginmanager.register(secrecy, "secrecy")
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """The local stack with the real model."""
    with StackProcess(tmp_path_factory.mktemp("stack") / "stack") as running:
        yield running.until_serving()
        assert running.signal(signal.SIGINT).wait_for_end() == 0


@pytest.fixture
def client(stack: StackProcess) -> Iterator[httpx.Client]:
    """An HTTP client of the running gateway."""
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as gateway:
        yield gateway
