"""``python -m tests``: runs all tests, in three concurrent processes, because many of them mostly wait.

``python -m tests PATH ...`` runs only those tests, in one process. Without paths, the tests in ``_OTHERS`` run in
processes of their own, whose output follows when all have ended. Each process searches its output for its own secrets.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack

_PYTEST = [sys.executable, "-m", "pytest"]
# The processes take about the same time, each.
_OTHERS = [["tests/integration"], ["tests/unit", "tests/system/rotation"]]


def main(paths: list[str]) -> int:
    """Run the tests; returns the exit code, 0 if all passed."""
    if paths:
        return subprocess.run([*_PYTEST, *paths], check=False).returncode
    with ExitStack() as ends:
        outputs = [ends.enter_context(tempfile.TemporaryFile()) for _ in _OTHERS]
        others = [
            subprocess.Popen([*_PYTEST, *own, "tests/system/test_secrets.py"], stdout=output, stderr=output)
            for own, output in zip(_OTHERS, outputs, strict=True)
        ]
        try:
            ignored = [f"--ignore={path}" for own in _OTHERS for path in own]
            codes = [subprocess.run([*_PYTEST, *ignored], check=False).returncode]
            codes += [other.wait() for other in others]
        finally:
            # After Ctrl-C, which the terminal also sends to the other processes.
            for other in others:
                other.terminate()
                other.wait()
        for own, output in zip(_OTHERS, outputs, strict=True):
            output.seek(0)
            print(f"\nThe process with {' and '.join(own)}:", flush=True)
            sys.stdout.buffer.write(output.read())
            sys.stdout.flush()
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
