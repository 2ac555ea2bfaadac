"""The secrecy plugin in a separate session: the output of all tests is searched after the last one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from secrets import token_urlsafe

import pytest

from tests.conftest import ROOT
from tests.support.secrecy import CAPTURED, SEARCH

TEST = """
import logging
import sys
from pathlib import Path

from devstack.vault.store import VaultStore


def test_it(tmp_path):
    VaultStore(tmp_path / "vault").set("cats-key", Path({key!r}).read_text())
    {statement}
"""


@pytest.mark.parametrize(
    ("statement", "leaks"),
    [
        ("print(Path({key!r}).read_text())", True),
        ("print(Path({key!r}).read_text(), file=sys.stderr)", True),
        ("logging.getLogger('cats').warning('the key is %s', Path({key!r}).read_text())", True),
        ("raise ValueError(Path({key!r}).read_text())", True),
        ("print('nothing')", False),
    ],
    ids=["stdout", "stderr", "log", "failure", "nothing"],
)
def test_the_output_of_a_test_is_searched_after_the_last_one(tmp_path: Path, statement: str, leaks: bool) -> None:
    key = tmp_path / "key"
    key.write_text(token_urlsafe(24))
    test = TEST.format(key=str(key), statement=statement.format(key=str(key)))
    (tmp_path / "test_z.py").write_text(test)
    shutil.copy(ROOT / "tests/system" / SEARCH, tmp_path)
    (tmp_path / "pytest.ini").touch()

    plugins = ["-p", "tests.support.secrecy", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    options = ["-v", "-W", "error", f"--basetemp={tmp_path / 'base'}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    # The search of this session must not find the leaks.
    shutil.rmtree(tmp_path)
    # The search is run last, although its file is sorted first.
    assert 0 < ended.stdout.index("test_z.py::test_it") < ended.stdout.index(f"{SEARCH}::"), ended.stdout + ended.stderr
    leak = f"cats-key.json is in {CAPTURED}, test_z.py::test_it"
    assert (leak in ended.stdout) == leaks
    assert (ended.returncode != 0) == leaks
