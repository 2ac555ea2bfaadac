"""The environment of Triton: its binary, and a Python with what the models need, apart from the project's own."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import CommandError

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements-triton.txt"
FOLDER = ROOT / ".devstack" / "triton"

# The newest first; later ones have no numpy 1.
VERSIONS = ("3.12", "3.11", "3.10")

# Seconds for the installation, of 200 MB, and for a Python to say where its library is.
_INSTALL_SECONDS, _ASK_SECONDS = 600, 20
_WHERE = (
    "import json, os, sysconfig; name = sysconfig.get_config_var; folder, file = name('LIBDIR'), name('INSTSONAME');"
    "print(json.dumps(folder if os.path.isfile(os.path.join(folder, file)) and file.endswith('.so.1.0') else ''))"
)


class TritonUnavailable(CommandError):
    """Triton cannot run here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """A folder with the packages of ``requirements-triton.txt``, and the folder of the library of a Python."""

    packages: Path
    libraries: str

    @property
    def server(self) -> Path:
        return self.packages / "pytriton" / "tritonserver"

    def command(self, repository: Path, *options: str) -> Sequence[str]:
        """The command that serves a model repository."""
        backends = str(self.server / "backends")
        server = str(self.server / "bin" / "tritonserver")
        return [server, "--model-repository", str(repository), "--backend-directory", backends, *options]

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables that the command needs."""
        libraries = os.pathsep.join([str(self.packages / "nvidia_pytriton.libs"), self.libraries])
        return {"LD_LIBRARY_PATH": libraries}


def ensure_environment(folder: Path = FOLDER) -> Environment:
    """The environment, made first where it is not there or belongs to other requirements.

    Raises:
        TritonUnavailable: this is another platform, there is no such Python, or the packages cannot be installed.
    """
    _check_platform()
    version, libraries = _python()
    environment = Environment(folder / f"packages-{version}", libraries)
    installed, wanted = environment.packages / REQUIREMENTS.name, REQUIREMENTS.read_bytes()
    if not installed.is_file() or installed.read_bytes() != wanted:
        shutil.rmtree(environment.packages, ignore_errors=True)
        _install(environment, version)
        installed.write_bytes(wanted)
    return environment


def _check_platform() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise TritonUnavailable(f"Triton runs on Linux x86-64, not on {sys.platform} {platform.machine()}")
    libc, version = platform.libc_ver()
    if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        raise TritonUnavailable(f"Triton needs glibc 2.35 or later, not {libc or 'another C library'} {version}")


def _python() -> tuple[str, str]:
    """The version of a Python that is installed with its shared library, and the library's folder."""
    for version in VERSIONS:
        command = [f"python{version}", "-c", _WHERE]
        try:
            asked = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if asked.returncode == 0 and (folder := json.loads(asked.stdout)):
            return version, folder
    raise TritonUnavailable(f"Triton's models need one of Python {', '.join(VERSIONS)}, with its shared library")


def _install(environment: Environment, version: str) -> None:
    for_it = ["--python-version", version, "--implementation", "cp", "--only-binary", ":all:", "--no-deps"]
    target = ["--target", str(environment.packages), "--requirement", str(REQUIREMENTS)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *for_it, *target]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TritonUnavailable(f"Triton cannot be installed: {error}") from None
    if done.returncode:
        raise TritonUnavailable(
            f"Triton cannot be installed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"
        )
    stub = environment.server / "python_backend_stubs" / version / "triton_python_backend_stub"
    target_file = environment.server / "backends" / "python" / stub.name
    shutil.copyfile(stub, target_file)
    for program in (target_file, environment.server / "bin" / "tritonserver"):
        program.chmod(0o755)
