"""The peers' virtual environments: one each, in ``.bench/``, made of ``peers/requirements-NAME.txt``.

An environment is made once; it is made anew when its requirements or the interpreter change, or it was left half done.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"
_REQUIREMENTS = Path(__file__).parent / "peers"


class EnvironmentFailed(Exception):
    """An environment cannot be made; the message is one line that names the cause."""


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing.

    Raises:
        EnvironmentFailed: its packages cannot be installed.
    """
    folder = FOLDER / name
    stamp, wanted = folder / "made-of", _fingerprint(name)
    interpreter = folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted:
        return interpreter
    print(f"Setting up {folder.relative_to(ROOT)} (once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    # Nothing in there is for the repository.
    (folder.parent / ".gitignore").write_text("*\n")
    venv.create(folder, with_pip=True)
    _install(interpreter, _requirements(name))
    stamp.write_text(wanted)
    return interpreter


def _install(interpreter: Path, requirements: Path) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--no-input")
    command = [str(interpreter), "-m", "pip", "install", *options, "-r", str(requirements)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own list of packages
    if ran.returncode:
        why = (ran.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise EnvironmentFailed(f"{requirements.name} cannot be installed ({why}): leave the peer out with --peers")


def _requirements(name: str) -> Path:
    return _REQUIREMENTS / f"requirements-{name}.txt"


def _fingerprint(name: str) -> str:
    return f"{hashlib.sha256(_requirements(name).read_bytes()).hexdigest()} {sys.version}\n"
