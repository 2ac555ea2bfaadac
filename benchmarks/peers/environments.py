"""The peers' virtual environments: one each, in ``.bench/``, from ``peers/requirements-NAME.txt``.

An environment is made once, and again when its requirements or the interpreter change, or it is incomplete.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.paths import ROOT, SCRATCH


class EnvironmentFailed(BenchmarkFailed):
    """An environment cannot be made."""


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made if it is missing.

    Raises:
        EnvironmentFailed: its packages cannot be installed.
    """
    requirements, folder = Path(__file__).with_name(f"requirements-{name}.txt"), SCRATCH / name
    interpreter, stamp = folder / "bin" / "python", folder / "made-of"
    fingerprint = f"{hashlib.sha256(requirements.read_bytes()).hexdigest()} {sys.version}\n"
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return interpreter
    print(f"Setting up {folder.relative_to(ROOT)} (once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    SCRATCH.mkdir(exist_ok=True)
    # None of it is for the repository.
    (SCRATCH / ".gitignore").write_text("*\n")
    venv.create(folder, with_pip=True)
    options = ("--quiet", "--disable-pip-version-check", "--no-input")
    command = [str(interpreter), "-m", "pip", "install", *options, "-r", str(requirements)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own list of packages
    if ran.returncode:
        why = (ran.stderr.strip().splitlines() or ["no output of pip"])[-1]
        raise EnvironmentFailed(f"{requirements.name} cannot be installed ({why}): leave the peer out with --systems")
    stamp.write_text(fingerprint)
    return interpreter
