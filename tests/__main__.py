"""``python -m tests``: every test, in two processes side by side, since many of them do little but wait.

The tests of rotation wait most of all; they run beside the others, and their output follows when both have ended. Each
process makes its own secrets and searches its own output for them. ``python -m pytest`` runs all of them in one.
"""

import subprocess
import sys
import tempfile

_PYTEST = [sys.executable, "-m", "pytest"]
_ASIDE = "tests/rotation"


def main() -> int:
    """Run them; returns the exit code, 0 where all passed."""
    with tempfile.TemporaryFile() as output:
        aside = subprocess.Popen([*_PYTEST, _ASIDE, "tests/test_secrets.py"], stdout=output, stderr=output)
        try:
            code = subprocess.run([*_PYTEST, f"--ignore={_ASIDE}"], check=False).returncode
            code_aside = aside.wait()
        finally:
            # Only where something came in between: by then a terminal's Ctrl-C has told it too.
            aside.terminate()
            aside.wait()
        output.seek(0)
        print(f"\nBeside them, {_ASIDE}:", flush=True)
        sys.stdout.buffer.write(output.read())
        sys.stdout.flush()
    return code or code_aside


if __name__ == "__main__":
    sys.exit(main())
