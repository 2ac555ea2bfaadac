"""What the tests of the whole share: the local stack, started once, on free ports and with a state of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from devstack.stack import Addresses, environment
from tests import secrecy

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the tests say (:mod:`tests.secrecy`), and let signals reach the processes that the tests start.

    A signal that is ignored here, as by ``nohup`` or in a shell's background job, would be ignored by them too.
    """
    config.pluginmanager.register(secrecy, "secrecy")
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@dataclass(frozen=True)
class Stack:
    """The running stack: the Functions host's address, the folder with its state, and the app settings that fit it."""

    url: str
    folder: Path
    settings: Mapping[str, str]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``python -m devstack up`` as its users start it, with the real model."""
    folder = tmp_path_factory.mktemp("stack")
    log = folder / "up.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", "up", "--ports-from", "0", "--state", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
    assert process.stdout
    try:
        _, addresses = read_until_ready(process.stdout, log)
        url = addresses["Score"].removesuffix("/api/score")
        yield Stack(url, folder, _settings(addresses, folder))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


def read_until_ready(output: IO[str], log: Path) -> tuple[str, Mapping[str, str]]:
    """What ``up`` prints until it serves, and the addresses in it, by their names."""
    printed = ""
    while "Managed identity" not in printed:
        line = output.readline()
        assert line, f"the stack did not start: {printed}{log.read_text()}"
        printed += line
    return printed, dict(re.findall(r"^  (\S.*?) {2,}(\S+:\S+)$", printed, re.MULTILINE))


def _settings(addresses: Mapping[str, str], folder: Path) -> Mapping[str, str]:
    found = Addresses(
        identity=addresses["Managed identity"],
        vault=addresses["Key Vault"],
        fpga=addresses["FPGA service (gRPC, TLS)"],
        control=addresses["Control plane"],
    )
    values = json.loads((ROOT / "local.settings.json").read_text())["Values"]
    return {**values, **environment(found, folder / "state" / "ca.pem")}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """An HTTP client of the running gateway."""
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as made:
        yield made
