"""Prometheus and its promtool: the system's, or Debian's package unpacked into a folder, without privileges."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".bench" / "prometheus"

# Seconds for the lists of packages and the package, of 20 MB.
_INSTALL_SECONDS = 300


class PromtoolUnavailable(Exception):
    """There is none; the message says why."""


def ensure_promtool() -> Path:
    """The program, unpacked first where the system has none.

    Raises:
        PromtoolUnavailable: it cannot be had here.
    """
    if found := shutil.which("promtool"):
        return Path(found)
    program = FOLDER / "usr" / "bin" / "promtool"
    if not program.is_file():
        _install()
    return program


def _install() -> None:
    if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
        raise PromtoolUnavailable(f"there is no promtool, and no {missing[0]} to get Debian's: install Prometheus")
    downloads = FOLDER.with_name("prometheus.new")
    shutil.rmtree(downloads, ignore_errors=True)
    for folder in ("lists/partial", "archives/partial", "root"):
        (downloads / folder).mkdir(parents=True)
    # The system's lists may be empty, and then only root could renew them.
    own = [f"-oDir::State::Lists={downloads}/lists", f"-oDir::Cache={downloads}", "-oDebug::NoLocking=1"]
    try:
        if _run(["apt-get", "download", "prometheus"], downloads):
            _checked(["apt-get", *own, "update"], downloads)
            _checked(["apt-get", *own, "download", "prometheus"], downloads)
        [package] = downloads.glob("prometheus_*.deb")
        _checked(["dpkg-deb", "-x", str(package), str(downloads / "root")], downloads)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PromtoolUnavailable(f"promtool cannot be installed: {error}") from None
    shutil.rmtree(FOLDER, ignore_errors=True)
    (downloads / "root").rename(FOLDER)
    shutil.rmtree(downloads)


def _checked(command: list[str], folder: Path) -> None:
    if fault := _run(command, folder):
        raise PromtoolUnavailable(f"promtool cannot be installed: {fault}")


def _run(command: list[str], folder: Path) -> str:
    """Run a command; returns why it failed, or nothing."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason"])[-1]


if __name__ == "__main__":
    print(ensure_promtool(), file=sys.stdout)
