"""``python -m tools.store_secrets``: see :mod:`tools.store_secrets.command`, which needs the gateway's packages."""

import sys

_REMEDY = """\
It needs the gateway's packages, in an environment of their own:

  python3.13 -m venv .venv
  .venv/bin/python -m pip install -r requirements.txt -c constraints.txt

and then .venv/bin/python (on Windows .venv\\Scripts\\python) instead of {python} for the same command."""


def _run() -> int:
    try:
        from tools.store_secrets import command  # noqa: PLC0415 - a package may be missing
    except ImportError as error:
        print(f"A package is missing: {error.name}. {_REMEDY.format(python=sys.executable)}", file=sys.stderr)
        return 2
    return command.main()


if __name__ == "__main__":
    sys.exit(_run())
