"""Installs a client as pip does, from a wheel built without the network."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT

TIMEOUT = 100


def install(client: str, folder: Path) -> Path:
    """Build ``clients/<client>`` from a copy, install it without its requirements, and return the folder."""
    source, site = folder / "source", folder / "site"
    shutil.copytree(ROOT / "clients" / client, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(site), str(source)],
        check=True,
        timeout=TIMEOUT,
    )  # fmt: skip
    return site


def run(command: Sequence[str | Path], site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that finds the installed client and its requirements, but not the repository."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
