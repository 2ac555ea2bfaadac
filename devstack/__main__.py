"""``python -m devstack COMMAND``: see :mod:`devstack.commands`. Here is what must hold before the rest can be imported.

An old Python 3 must be able to read this file, to say that it is too old; and the imports take long enough for a
Ctrl-C.
"""

import os
import signal
import sys

_REMEDY = "run `make run`, which sets up .venv and uses it, or .venv/bin/python -m devstack up"


def _leave(_number: int, _frame: object) -> None:
    """End at once, since nothing has been started; not by an exception, which an import may swallow."""
    try:
        os.write(1, b"Stopped.\n")
    finally:
        os._exit(0)


def _run() -> int:
    if sys.version_info < (3, 13):  # noqa: UP036 - whoever has another one must be told
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit("Python 3.13 is needed, and " + sys.executable + " is " + version + ": " + _REMEDY)
    if sys.platform == "win32":
        sys.exit("The local stack needs Linux or macOS: on Windows, run it in WSL")
    # A terminal that closes, and a plain `kill`, end the stack as Ctrl-C does; and Ctrl-C does so too where a shell
    # started this in the background with the signal ignored. But nohup asks for the hang-up to be ignored.
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    for number in signals:
        signal.signal(number, _leave)
    try:
        from devstack import commands  # noqa: PLC0415 - see the module's docstring
    except ImportError as error:
        sys.exit("A package is missing in " + sys.executable + " (" + str(error) + "): " + _REMEDY)
    return commands.main(signals=signals)


if __name__ == "__main__":
    sys.exit(_run())
