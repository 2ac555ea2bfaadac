"""When chosen functions begin and end, as reported by the interpreter (:mod:`sys.monitoring`, PEP 669).

The measured code is not changed, and need not be imported yet. Events of all other functions are disabled when they
first occur.
"""

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from types import CodeType

# Name, thread, begin and end, in nanoseconds of CLOCK_MONOTONIC, which processes share.
type Span = tuple[str, str, int, int]

IMPORT = "import "

_MODULE = "<module>"
_EVENTS = sys.monitoring.events


class Spans:
    """Records the spans of functions that have ended, by file (the end of its name) and qualified name.

    With ``imports``, also those of modules that were imported, without the ones within another's import.
    """

    # _open     by frame: the chosen functions that have begun
    # _modules  by thread: the modules whose import has begun, the outermost first

    def __init__(self, functions: Mapping[tuple[str, str], str], *, imports: bool = False) -> None:
        self.ended: list[Span] = []
        self._functions = functions
        self._imports = imports
        self._names: dict[CodeType, str | None] = {}
        self._open: dict[int, tuple[str, int]] = {}
        self._modules: dict[int, list[tuple[CodeType, int]]] = {}

    def start(self) -> None:
        """Record from now on."""
        monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID
        monitoring.use_tool_id(tool, "benchmarks")
        monitoring.register_callback(tool, _EVENTS.PY_START, self._begin)
        monitoring.register_callback(tool, _EVENTS.PY_RETURN, self._end)
        monitoring.set_events(tool, _EVENTS.PY_START | _EVENTS.PY_RETURN)
        monitoring.restart_events()

    def stop(self) -> None:
        """Record no more."""
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, _EVENTS.NO_EVENTS)
        sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)

    def _begin(self, code: CodeType, _offset: int) -> object:
        if self._imports and code.co_name == _MODULE:
            self._modules.setdefault(threading.get_ident(), []).append((code, time.monotonic_ns()))
            return None
        name = self._name(code)
        if name is None:
            return sys.monitoring.DISABLE
        self._open[id(sys._getframe(1))] = name, time.monotonic_ns()  # noqa: SLF001 - one for each call
        return None

    def _end(self, code: CodeType, _offset: int, _value: object) -> object:
        if self._imports and code.co_name == _MODULE:
            self._end_module(code)
            return None
        if self._name(code) is None:
            return sys.monitoring.DISABLE
        name, began = self._open.pop(id(sys._getframe(1)), ("", 0))  # noqa: SLF001 - as above
        if name:
            self._add(name, began)
        return None

    def _end_module(self, code: CodeType) -> None:
        modules = self._modules.get(threading.get_ident(), [])
        while modules:
            ended, began = modules.pop()
            # Those above it were left by an exception.
            if ended is code:
                if not modules:
                    self._add(IMPORT + _module_name(code), began)
                return

    def _add(self, name: str, began: int) -> None:
        self.ended.append((name, threading.current_thread().name, began, time.monotonic_ns()))

    def _name(self, code: CodeType) -> str | None:
        """The name of a chosen function; None for another one."""
        if code not in self._names:
            found = [
                name
                for (file, function), name in self._functions.items()
                if code.co_qualname == function and code.co_filename.endswith(file)
            ]
            self._names[code] = found[0] if found else None
        return self._names[code]


def own_seconds(spans: Iterable[Span]) -> dict[str, list[float]]:
    """The seconds of each span without those of the spans within it, by name, where one call at a time was made."""
    seconds: dict[str, list[float]] = {}
    enclosing: list[tuple[int, list[float], int]] = []
    for name, _, began, ended in sorted(spans, key=lambda span: (span[2], -span[3])):
        while enclosing and enclosing[-1][0] <= began:
            enclosing.pop()
        took = (ended - began) / 1e9
        if enclosing:
            _, outer, index = enclosing[-1]
            outer[index] -= took
        own = seconds.setdefault(name, [])
        own.append(took)
        enclosing.append((ended, own, len(own) - 1))
    return seconds


def _module_name(code: CodeType) -> str:
    """A module's name, by its file."""
    parts = code.co_filename.replace("\\", "/").split("/")
    roots = [name for name in ("site-packages", "shared", "functions", "protos") if name in parts]
    if not roots:
        return parts[-1].removesuffix(".py")
    at = len(parts) - 1 - parts[::-1].index(roots[0])
    inside = parts[at + 1 :] if roots[0] == "site-packages" else parts[at:]
    return ".".join(inside).removesuffix(".py").removesuffix(".__init__")
