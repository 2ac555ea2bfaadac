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
_PATIENCE = 5.0


def _end_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    del sys.argv[0]
    # Alters sys.argv[0] to the module's file, as `python -m MODULE` does.
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
