"""The worker's folder, laid out as in Azure: its own packages, and the code that runs in its process."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from devstack.host.errors import HostError

ROOT = Path(__file__).resolve().parents[3]
CODE = ROOT / "devstack" / "functions_worker"
FOLDER = ROOT / ".devstack" / "worker"

_REQUIREMENTS = CODE / "requirements.txt"
_INSTALL_SECONDS = 300


def ensure_folder() -> Path:
    """The folder, made first where it is not there or belongs to other requirements.

    Raises:
        HostError: the packages cannot be installed.
    """
    version, system = f"{sys.version_info[0]}.{sys.version_info[1]}", "OSX" if sys.platform == "darwin" else "LINUX"
    folder = FOLDER / "python" / version / system / "X64"
    installed, wanted = folder / _REQUIREMENTS.name, _REQUIREMENTS.read_bytes()
    if not installed.is_file() or installed.read_bytes() != wanted:
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    """Install the packages beside the folder, and put them in its place when they are complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        fresh = Path(name, "packages")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(fresh), "-r", str(_REQUIREMENTS)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"the worker's packages cannot be installed: {error}") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
            raise HostError(f"the worker's packages cannot be installed: {reason}")
        (fresh / CODE.name).symlink_to(CODE)
        shutil.copyfile(_REQUIREMENTS, fresh / _REQUIREMENTS.name)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
