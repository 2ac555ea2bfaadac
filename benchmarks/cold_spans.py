"""When the parts of a first request begin and end, as told by the interpreter (:mod:`sys.monitoring`, PEP 669).

Unlike :mod:`benchmarks.probes` this looks at several threads at once, and at modules that are yet to be imported: it
asks for the start and the end of every function, and loses interest in each that is not looked for.
"""

import sys
import threading
import time
from types import CodeType

# What is looked for: the end of the file's name, the function's qualified name, and what it is to people.
PARTS: dict[tuple[str, str], str] = {
    ("shared/settings.py", "load"): "settings",
    ("shared/trust/vault.py", "_Identity.get_token"): "identity token",
    ("shared/trust/vault.py", "Vault.read"): "secret from Key Vault",
    ("shared/fpga/channels.py", "Channel._connect"): "TCP and TLS handshake",
    ("shared/fpga/channels.py", "Channel.predict"): "first call",
}
IMPORT = "import "

_MODULE = "<module>"
_EVENTS = sys.monitoring.events


class Spans:
    """Gathers ``[name, thread, start, end]``, in nanoseconds of CLOCK_MONOTONIC, of what has ended."""

    # _open     by frame: what has begun of PARTS
    # _modules  by thread: the modules whose import has begun, the outermost first

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, int, int]] = []
        self._open: dict[int, tuple[str, int]] = {}
        self._modules: dict[int, list[tuple[CodeType, int]]] = {}

    def start(self, code: CodeType, _offset: int) -> object:
        """A function or a module begins."""
        if code.co_name == _MODULE:
            self._modules.setdefault(threading.get_ident(), []).append((code, time.monotonic_ns()))
            return None
        part = part_of(code)
        if part is None:
            return sys.monitoring.DISABLE
        self._open[id(sys._getframe(1))] = part, time.monotonic_ns()  # noqa: SLF001 - the one way to tell two calls apart
        return None

    def end(self, code: CodeType, _offset: int, _value: object) -> object:
        """A function or a module has come to its end."""
        if code.co_name == _MODULE:
            self._end_module(code)
            return None
        if part_of(code) is None:
            return sys.monitoring.DISABLE
        part, began = self._open.pop(id(sys._getframe(1)), ("", 0))  # noqa: SLF001 - as above
        if part:
            self._add(part, began)
        return None

    def _end_module(self, code: CodeType) -> None:
        modules = self._modules.get(threading.get_ident(), [])
        while modules:
            ended, began = modules.pop()
            # What lies above it was left by an exception.
            if ended is code:
                if not modules:
                    self._add(IMPORT + _name(code), began)
                return

    def _add(self, name: str, began: int) -> None:
        self.ended.append((name, threading.current_thread().name, began, time.monotonic_ns()))


def part_of(code: CodeType) -> str | None:
    """What a function is to people; None where it is not looked for."""
    for (file, name), part in PARTS.items():
        if code.co_qualname == name and code.co_filename.endswith(file):
            return part
    return None


def watch() -> list[tuple[str, str, int, int]]:
    """Gather spans from now on; returns the list that they are added to."""
    spans, monitoring, tool = Spans(), sys.monitoring, sys.monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "benchmarks")
    monitoring.register_callback(tool, _EVENTS.PY_START, spans.start)
    monitoring.register_callback(tool, _EVENTS.PY_RETURN, spans.end)
    monitoring.set_events(tool, _EVENTS.PY_START | _EVENTS.PY_RETURN)
    return spans.ended


def _name(code: CodeType) -> str:
    """A module's name, by its file."""
    parts = code.co_filename.replace("\\", "/").split("/")
    own = [name for name in ("site-packages", "shared", "functions", "protos") if name in parts]
    if not own:
        return parts[-1].removesuffix(".py")
    at = len(parts) - 1 - parts[::-1].index(own[0])
    inside = parts[at + 1 :] if own[0] == "site-packages" else parts[at:]
    return ".".join(inside).removesuffix(".py").removesuffix(".__init__")
