"""How the worker starts a module of this project as a process of its own: for work on foreign data."""

import os
import sys
from pathlib import Path

# A process gets none of the worker's other variables, which may be secrets.
_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "LANG", "SYSTEMROOT")


def command(module: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The variables of the process, which finds the same packages as this one."""
    own = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return {**own, "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}
