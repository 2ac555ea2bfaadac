"""Where the time of one call goes, as told by the interpreter, without a change to the code that is looked at.

While a probe is on, :mod:`sys.monitoring` (PEP 669) reports the start and the end of the chosen functions, and of no
others. One call at a time may run: then the functions' times nest, those of coroutines too.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

_EVENTS = sys.monitoring.events


class Probe:
    """Measures functions, each under a name; ``seconds`` holds what the functions took themselves, call by call."""

    # _names   the chosen functions' code
    # _open    the functions that have begun and not ended: when each began, and what others took within it

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self._names = {function.__code__: name for name, function in functions.items()}
        self._open: list[tuple[float, list[float]]] = []
        self.seconds: dict[str, list[float]] = {name: [] for name in functions}

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Measure while the context lasts."""
        monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID
        monitoring.use_tool_id(tool, "benchmarks")
        try:
            monitoring.register_callback(tool, _EVENTS.PY_START, self._start)
            monitoring.register_callback(tool, _EVENTS.PY_RETURN, self._end)
            for code in self._names:
                monitoring.set_local_events(tool, code, _EVENTS.PY_START | _EVENTS.PY_RETURN)
            yield
        finally:
            for code in self._names:
                monitoring.set_local_events(tool, code, _EVENTS.NO_EVENTS)
            monitoring.free_tool_id(tool)

    def _start(self, _code: CodeType, _offset: int) -> None:
        self._open.append((time.perf_counter(), []))

    def _end(self, code: CodeType, _offset: int, _value: object) -> None:
        began, within = self._open.pop()
        took = time.perf_counter() - began
        self.seconds[self._names[code]].append(took - sum(within))
        if self._open:
            self._open[-1][1].append(took)
