"""The sections of docs/performance.md.

Each is a folder with ``measure.py`` (``measure(quick, ...)`` returns JSON with its ``ratios``) and ``report.py``
(``report(data)`` returns Markdown, ``plot(data, folder)`` draws files).
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Section(NamedTuple):
    """A folder; with a service's latency, its ``measure`` gets that and the chosen systems."""

    folder: str
    latency_ms: float | None = None

    def measure(self, systems: Sequence[str], *, quick: bool) -> dict[str, Any]:
        """Measure in this process."""
        more = () if self.latency_ms is None else (self.latency_ms, systems)
        measured: dict[str, Any] = self._module("measure").measure(quick, *more)
        return measured

    def report(self, data: Mapping[str, Any]) -> str:
        text: str = self._module("report").report(data)
        return text

    def plot(self, data: Mapping[str, Any], folder: Path) -> None:
        self._module("report").plot(data, folder)

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"benchmarks.{self.folder}.{name}")


SECTIONS = {
    "worker": Section("worker_process"),
    "native": Section("native"),
    "comparison": Section("comparison", 0.0),
    "comparison-fpga": Section("comparison", 1.8),
    "photographs": Section("photographs"),
    "triton": Section("triton"),
    "cold-start": Section("cold_start"),
    "overload": Section("overload"),
}
