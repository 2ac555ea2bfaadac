"""``python -m devstack.tethered MODULE ...``: run a module that ends when its parent process ends, in whatever way.

The parent holds the other end of this process's standard input, which is closed when it dies, even by SIGKILL.
"""

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable

# How long the module may take to end by itself, in seconds.
PATIENCE = 5.0

_STDIN = 0


def end_when_closed(descriptor: int, patience: float, end: Callable[[], object]) -> None:
    """End this process when the other end of a pipe closes: by SIGTERM, and by ``end`` after ``patience`` seconds."""

    def wait() -> None:
        try:
            while os.read(descriptor, 1024):
                pass
        except OSError:
            pass  # closed, or a closed terminal: there is no parent either
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
        end()

    threading.Thread(target=wait, name="tether", daemon=True).start()


def main() -> None:
    """Run the module that the command line names, with the arguments that follow it."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m devstack.tethered MODULE [ARGUMENT ...]")
    end_when_closed(_STDIN, PATIENCE, lambda: os._exit(1))
    del sys.argv[0]
    # Sets sys.argv[0] to the module's file, as `python -m MODULE` does.
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
