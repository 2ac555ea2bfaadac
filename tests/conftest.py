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

import httpx
import pytest

from devstack.stack import Addresses, environment

ROOT = Path(__file__).parent.parent


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
        printed = ""
        while "Managed identity" not in printed:
            line = process.stdout.readline()
            assert line, f"the stack did not start: {printed}{log.read_text()}"
            printed += line
        yield Stack(_address("Score", printed).removesuffix("/api/score"), folder, _settings(printed, folder))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


def _address(name: str, printed: str) -> str:
    found = re.search(rf"^ *{re.escape(name)} +(\S+)$", printed, re.MULTILINE)
    assert found, printed
    return found[1]


def _settings(printed: str, folder: Path) -> Mapping[str, str]:
    addresses = Addresses(
        identity=_address("Managed identity", printed),
        vault=_address("Key Vault", printed),
        fpga=_address("FPGA service (gRPC, TLS)", printed),
    )
    values = json.loads((ROOT / "local.settings.json").read_text())["Values"]
    return {**values, **environment(addresses, folder / "state" / "ca.pem")}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """An HTTP client of the running gateway."""
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as made:
        yield made
