"""``python -m devstack COMMAND``: see :mod:`devstack.commands`. This module does what must precede the other imports.

An old Python 3 must be able to parse this file, to report that it is too old; and a Ctrl-C may come during the imports.
"""

import os
import signal
import sys

_REMEDY = "run `make run`, which sets up .venv and uses it, or .venv/bin/python -m devstack up"


def _leave(_number: int, _frame: object) -> None:
    """End at once, since nothing has been started; not by an exception, which an import may catch."""
    try:
        os.write(1, b"Stopped.\n")
    finally:
        os._exit(0)


def _run() -> int:
    if sys.version_info < (3, 13):  # noqa: UP036 - this is the check
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit("Python 3.13 is needed, and " + sys.executable + " is " + version + ": " + _REMEDY)
    if sys.platform == "win32":
        sys.exit("The local stack needs Linux or macOS: on Windows, run it in WSL")
    # A terminal that closes, and a plain `kill`, end the stack like Ctrl-C; and so does Ctrl-C where a shell started
    # this in the background with the signal ignored. But nohup ignores the hang-up on purpose.
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
