"""The README's examples run unchanged except for the address, and its table of errors is complete."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prediction_client import errors

from devstack.authority import Authority
from tests.conftest import ROOT
from tests.support.inference_service import KEYS, StartService
from tests.support.markdown import blocks

CLIENT = ROOT / "clients" / "prediction-client"
README = (CLIENT / "README.md").read_text(encoding="utf-8")
EXAMPLES = {block.note.removeprefix("runs: "): block.code for block in blocks(README) if block.language == "python"}


async def run(name: str, port: int, folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a process whose path has the client, but not the repository."""
    code, replaced = re.subn(r'"fpga.example.internal",\s+443,', f'"localhost", {port},', EXAMPLES[name])
    assert replaced == 1
    environment = {**os.environ, "PYTHONPATH": str(CLIENT / "src"), "PYTHONSAFEPATH": "1", "FPGA_KEY": key}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    for name in ("coffee.png", "rocket.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff" + name.encode())
    (tmp_path / "pins.pem").write_bytes(authority.pem)
    return tmp_path


@pytest.mark.parametrize(("name", "images"), [("blocking", 1), ("asyncio", 2)])
async def test_an_example_prints_scores(start: StartService, folder: Path, name: str, images: int) -> None:
    service = await start()

    ended = await run(name, service.port, folder, KEYS.primary)

    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"(\d 0\.\d+\n)" * images, ended.stdout)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(("key", "cause"), [("", "requires an access token"), ("not-the-key", "refused the access")])
async def test_an_example_without_a_valid_key_prints_one_line(
    start: StartService, folder: Path, name: str, key: str, cause: str
) -> None:
    service = await start()

    ended = await run(name, service.port, folder, key)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert cause in ended.stderr
    assert ended.stderr.endswith("Pass one of the service's current keys as access_token.\n")
    assert ended.stderr.count("\n") == 1


def test_every_error_is_in_the_table() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", README[README.index("## Errors") :], re.MULTILINE)

    assert listed == [kind.__name__ for kind in errors.PredictionError.__subclasses__()]
