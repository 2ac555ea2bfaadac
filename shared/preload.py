"""Imports what a score needs while the Functions host is still starting.

After it has indexed the app, the host takes some hundred milliseconds for itself, and an instance that is always ready
may wait for its first request for hours. The imports that the first request would wait for are done then, in a thread.
A request that comes earlier ends that, and imports the rest itself: of two threads that import modules of the same
packages, Python gives one of them a module that is not complete, or an error.
"""

import importlib
import threading
from collections.abc import Sequence
from contextlib import suppress

# In the order in which a first request imports them. What only some settings need is left to it.
MODULES = (
    "shared.credentials.key_vault",
    "shared.scoring.decoding.decoder",
    "shared.scoring.models",
    "shared.scoring.scorer",
    "shared.upstream.discovery",
    "shared.upstream.service",
    "shared.credentials.cache",
    "shared.upstream.codecs.tensorflow",
)
# Seconds until the worker has answered the host, which asks for one function after another.
AFTER = 0.05


class Preload:
    """Imports modules once, unless it is stopped before; whoever needs one that fails gets its error."""

    def __init__(self, modules: Sequence[str], after: float) -> None:
        """Begins so many seconds after :meth:`begin`."""
        self._modules = modules
        self._after = after
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preload", daemon=True)

    def begin(self) -> None:
        """Import the modules in a thread."""
        with suppress(RuntimeError):  # no thread can be started
            self._thread.start()

    def stop(self) -> None:
        """Import no more; blocks until the module that is being imported is there, which takes up to 0.1 s."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._stopping.wait(self._after):
            return
        for module in self._modules:
            with suppress(Exception):
                importlib.import_module(module)
            if self._stopping.is_set():
                return


# The app's, which its modules are imported for once in a process.
PRELOAD = Preload(MODULES, AFTER)
