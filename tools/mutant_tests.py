"""Runs tests again and again, each time in a fork of one process in which third parties' modules are imported.

``python -m tools.mutant_tests``, started by :mod:`tools.mutate` in a copy of the repository: each line of standard
input is JSON, the arguments of pytest; the answer to each is a line with the status of the run.
"""

import importlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Seconds of processor time, and in all, after which tests count as failed: a mutant may loop, or wait, for ever.
_PROCESSOR, _ALL = 20, 120


def main() -> None:
    """Answer until the input ends."""
    sys.path.insert(0, str(Path.cwd()))
    # A result that is written at once, whatever the tests print.
    answers = os.fdopen(os.dup(1), "w")
    imported = False
    for line in sys.stdin:
        status, names = _in_fork(json.loads(line))
        if not imported:
            _import(names)
            imported = True
        answers.write(f"{status}\n")
        answers.flush()


def _in_fork(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """The status of a run, and the names of the modules that it imported."""
    with tempfile.TemporaryFile("w+") as modules:
        child = os.fork()
        if not child:
            status = 1
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR, _PROCESSOR))
                signal.alarm(_ALL)
                nothing = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(nothing, descriptor)
                status = int(pytest.main(list(arguments)))
                json.dump(_third_parties(), modules)
                modules.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        modules.seek(0)
        text = modules.read()
    return status, json.loads(text) if text else []


def _third_parties() -> list[str]:
    """The imported modules that neither belong to the repository nor to a plugin of pytest, which imports those."""
    own = str(Path.cwd())
    distributions = [one.dist for one in entry_points(group="pytest11") if one.dist is not None]
    plugins = {file.parts[0].removesuffix(".py") for one in distributions for file in one.files or ()}
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return [
        name
        for name, file in files.items()
        if file and not file.startswith(own) and name.partition(".")[0] not in plugins
    ]


def _import(names: Sequence[str]) -> None:
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)


if __name__ == "__main__":
    main()
