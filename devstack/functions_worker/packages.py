"""Which packages are imported: the worker's own until the app is known, and from then on the app's before the worker's.

As in Azure, where a module that the worker has imported lives on in whatever refers to it, while the app imports its
own copy beside it: two of grpc, and two of protobuf, each with its native code, in one process.
"""

import contextlib
import os
import sys
from pathlib import Path
from types import ModuleType

_SCRIPT_ROOT = "AzureWebJobsScriptRoot"


class Packages:
    """The folders on ``sys.path``."""

    def __init__(self) -> None:
        self._worker = str(Path(__file__).parent.parent)
        self._root = os.environ.get(_SCRIPT_ROOT, "")
        self._app = next((path for path in sys.path if "site-packages" in path and path.startswith(self._root)), "")

    def prefer_own(self) -> None:
        """Find the worker's packages first, and nothing of the app."""
        others = [path for path in sys.path if path not in {self._worker, self._app, self._root}]
        sys.path[:] = [self._worker, *others]

    def prefer_app(self, root: str = "") -> None:
        """Find the app's packages first, then the worker's, and last the modules of the app itself."""
        others = [path for path in sys.path if path not in {self._worker, self._app}]
        sys.path[:] = [path for path in (self._app, self._worker, *others, root or self._root) if path]
        self._forget_own()

    def _forget_own(self) -> None:
        """Forget the modules from the worker's folder, except this package."""
        sys.path_importer_cache.pop(self._worker, None)
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and not name.startswith(str(__package__)):
                # A namespace package whose parent was forgotten has no path, and stays: it finds its new parent's.
                with contextlib.suppress(KeyError):
                    places = [*(getattr(module, "__path__", None) or ()), getattr(module, "__file__", None) or ""]
                    if any(place.startswith(self._worker) for place in places):
                        del sys.modules[name]
