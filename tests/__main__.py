"""``python -m tests``: runs all tests, in two concurrent processes, because many of them mostly wait.

``python -m tests PATH ...`` runs only those tests, in one process. Without paths, the tests in ``_SECOND`` run in the
second process, whose output follows when both have ended. Each process searches its output for its own secrets.
"""

import subprocess
import sys
import tempfile

_PYTEST = [sys.executable, "-m", "pytest"]
# Both processes take about the same time.
_SECOND = ["tests/integration", "tests/system/rotation"]


def main(paths: list[str]) -> int:
    """Run the tests; returns the exit code, 0 if all passed."""
    if paths:
        return subprocess.run([*_PYTEST, *paths], check=False).returncode
    with tempfile.TemporaryFile() as output:
        second = subprocess.Popen([*_PYTEST, *_SECOND, "tests/system/test_secrets.py"], stdout=output, stderr=output)
        try:
            code = subprocess.run([*_PYTEST, *(f"--ignore={path}" for path in _SECOND)], check=False).returncode
            second_code = second.wait()
        finally:
            # After Ctrl-C, which the terminal also sends to the second process.
            second.terminate()
            second.wait()
        output.seek(0)
        print(f"\nThe second process, with {' and '.join(_SECOND)}:", flush=True)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return code or second_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
