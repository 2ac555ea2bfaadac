"""``python -m devstack.tethered MODULE ...``: run a module that ends when its parent does, however that ends.

The parent holds the other end of this process's standard input. A parent that dies, even by SIGKILL, lets go of it.
"""

import os
import runpy
import signal
import sys
import threading
import time

# What the module gets to end by itself, in seconds.
PATIENCE = 5.0

_STDIN = 0


def _end_with_the_parent() -> None:
    _wait_for_the_end_of_input()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


def _wait_for_the_end_of_input() -> None:
    try:
        while os.read(_STDIN, 1024):
            pass
    except OSError:
        return  # closed, or a terminal that is gone: there is no parent there either


def main() -> None:
    """Run the module that the command line names, with the arguments that follow it."""
    if len(sys.argv) < 2:
        sys.exit("usage: python -m devstack.tethered MODULE [ARGUMENT ...]")
    threading.Thread(target=_end_with_the_parent, name="tether", daemon=True).start()
    del sys.argv[0]
    # Alters sys.argv[0] to the module's file, as `python -m MODULE` does.
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
