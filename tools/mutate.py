"""Changes the core modules in small ways, and prints how many of the changes their unit tests notice.

``python -m tools.mutate PYTHON``: the Python of ``tools/requirements-mutate.txt``. The same seed gives the same
mutants. They are tried in copies of the repository, so that an interruption leaves nothing behind.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from subprocess import DEVNULL, PIPE
from typing import IO, NamedTuple, Self, cast

ROOT = Path(__file__).parent.parent
_UNIT = "tests/unit"
# The core modules, and their tests.
MODULES = {
    "shared/backoff.py": ["test_backoff.py"],
    "shared/threads.py": ["test_threads.py"],
    "shared/credentials/cache.py": ["credentials"],
    "shared/credentials/pins.py": ["credentials/test_pins.py"],
    "shared/upstream/admission.py": ["upstream/test_admission.py"],
    "shared/upstream/channel.py": ["upstream/test_channel.py"],
    "shared/upstream/client.py": ["upstream/test_client_calls.py", "upstream/test_client_clock.py"],
    "shared/upstream/recovery.py": ["upstream/test_client_clock.py", "upstream/test_client_calls.py"],
    "shared/upstream/retry.py": ["upstream/test_retry.py", "upstream/test_client_clock.py"],
    "shared/upstream/slot.py": ["upstream/test_slot.py", "upstream/test_client_clock.py"],
    "shared/traffic/decide.py": ["traffic/test_decide.py"],
    "shared/rotation/decide.py": ["rotation/test_decide.py", "rotation/test_fallback.py"],
    "shared/rotation/decide_keys.py": ["rotation/test_decide_keys.py"],
    "shared/rotation/validate.py": ["rotation/test_validate.py", "rotation/test_fallback.py"],
    "shared/scoring/labels.py": ["scoring/test_labels.py", "scoring/test_scorer.py"],
    "shared/scoring/scorer.py": ["scoring/test_scorer.py", "scoring/images/test_scorer_images.py"],
    "shared/scoring/images/metadata.py": ["scoring/images/test_metadata.py", "scoring/images/test_forwarding.py"],
}


class Mutant(NamedTuple):
    """A changed module: where, how, and its whole source."""

    module: str
    line: int
    operator: str
    source: str


def main() -> None:
    """Print the mutants that survive, and a table of the modules."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.add_argument("python", help="the Python with cosmic-ray")
    parser.add_argument("--count", type=int, default=30, help="mutants of each module (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", nargs="*", default=list(MODULES), help="all where none are named")
    options = parser.parse_args()
    chosen = [one for module in options.modules for one in mutants(options.python, module, options.count, options.seed)]
    survivors = []
    for one in survived(chosen):
        print(f"survived: {one.module}:{one.line} {one.operator}: {_line(one)}", flush=True)
        survivors.append(one)
    print(table(options.modules, chosen, survivors))


def mutants(python: str, module: str, count: int, seed: int) -> list[Mutant]:
    """A sample of a module's mutants."""
    command = [python, "-m", "tools.mutants", module, str(count), str(seed)]
    made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return [Mutant(module, one["line"], one["operator"], one["source"]) for one in json.loads(made)]


def survived(chosen: Sequence[Mutant]) -> Iterator[Mutant]:
    """Those that their module's tests do not notice, tried on all processors."""
    count = os.process_cpu_count() or 1
    with _copies(count) as copies, ThreadPoolExecutor(count) as threads:
        for module in dict.fromkeys(one.module for one in chosen):
            mutants_ = [one for one in chosen if one.module == module]
            original = Mutant(module, 0, "", (ROOT / module).read_text(encoding="utf-8"))
            free: SimpleQueue[_Tests] = SimpleQueue()
            with ExitStack() as ends:
                for copy in copies:
                    tests = ends.enter_context(_Tests(copy, module))
                    # Twice: the second run, and those after it, find third parties' modules imported.
                    if tests.notice(original) or tests.notice(original):
                        raise SystemExit(f"the tests of {module} fail without a change")
                    free.put(tests)

                def notices(one: Mutant, free: SimpleQueue[_Tests] = free) -> bool:
                    tests = free.get()
                    try:
                        return tests.notice(one)
                    finally:
                        free.put(tests)

                yield from (
                    one for one, noticed in zip(mutants_, threads.map(notices, mutants_), strict=True) if not noticed
                )


def table(modules: Sequence[str], chosen: Sequence[Mutant], survivors: Sequence[Mutant]) -> str:
    """How many mutants of each module there are, and how many of them are killed."""
    lines = [f"{'module':40} {'mutants':>7} {'killed':>7}"]
    for name in [*modules, "all"]:
        total = sum(name in (one.module, "all") for one in chosen)
        left = sum(name in (one.module, "all") for one in survivors)
        lines.append(f"{name:40} {total:7} {(total - left) / max(1, total):7.0%}")
    return "\n".join(lines)


@contextmanager
def _copies(count: int) -> Iterator[list[Path]]:
    """Copies of the repository's files, as they are."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S607
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(count)]
        for copy in copies:
            for name in filter(None, listed.decode().split("\0")):
                if (ROOT / name).is_file():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / name, copy / name)
        yield copies


class _Tests:
    """The tests of one module, in one copy of the repository: a process runs them, see :mod:`tools.mutant_tests`."""

    def __init__(self, copy: Path, module: str) -> None:
        self._file = copy / module
        self._tests = [f"{_UNIT}/{one}" for one in MODULES[module]]
        self._times = itertools.count(1_000_000_000)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.mutant_tests"], cwd=copy, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True
        )
        self._answers = cast("IO[str]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def notice(self, mutant: Mutant) -> bool:
        """Whether the tests fail with the mutant in the module's place."""
        original = self._file.read_bytes()
        self._file.write_text(mutant.source, encoding="utf-8")
        # Each has a time of its own: a compiled file of another one, as long and as old, would be taken for this one's.
        time = next(self._times)
        os.utime(self._file, (time, time))
        try:
            print(
                json.dumps(["-x", "-q", "-p", "no:cacheprovider", *self._tests]), file=self._process.stdin, flush=True
            )
            return self._answers.readline() != "0\n"
        finally:
            self._file.write_bytes(original)


def _line(mutant: Mutant) -> str:
    return mutant.source.splitlines()[mutant.line - 1].strip()


if __name__ == "__main__":
    main()
