"""Changes the core modules in small ways, and prints how many of the changes their unit tests notice.

``python -m tools.mutate PYTHON``: the Python of ``tools/requirements-mutate.txt``. The same seed gives the same
mutants. They are tried in copies of the repository, so that an interruption leaves nothing behind.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
# The core modules, and their tests.
MODULES = {
    "shared/backoff.py": "tests/unit/upstream tests/unit/control_plane",
    "shared/threads.py": "tests/unit/test_threads.py",
    "shared/credentials/cache.py": "tests/unit/credentials",
    "shared/credentials/pins.py": "tests/unit/credentials tests/unit/rotation",
    "shared/upstream/admission.py": "tests/unit/upstream",
    "shared/upstream/channel.py": "tests/unit/upstream",
    "shared/upstream/client.py": "tests/unit/upstream",
    "shared/upstream/recovery.py": "tests/unit/upstream",
    "shared/upstream/retry.py": "tests/unit/upstream",
    "shared/upstream/slot.py": "tests/unit/upstream",
    "shared/rotation/decide.py": "tests/unit/rotation",
    "shared/rotation/decide_keys.py": "tests/unit/rotation",
    "shared/rotation/validate.py": "tests/unit/rotation",
    "shared/scoring/labels.py": "tests/unit/scoring/test_labels.py tests/unit/scoring/test_scorer.py",
    "shared/scoring/scorer.py": "tests/unit/scoring/test_scorer.py tests/unit/scoring/images/test_scorer_images.py",
    "shared/scoring/images/metadata.py": (
        "tests/unit/scoring/images/test_metadata.py tests/unit/scoring/images/test_forwarding.py"
    ),
}
# Seconds after which tests count as failed: a mutant may wait for ever.
_TIMEOUT = 60


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
    workers = os.process_cpu_count() or 1
    with _copies(workers) as copies, ThreadPoolExecutor(workers) as threads:
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def notices(one: Mutant) -> bool:
            copy = free.get()
            try:
                return _notices(copy, one)
            finally:
                free.put(copy)

        for module in dict.fromkeys(one.module for one in chosen):
            original = Mutant(module, 0, "", (ROOT / module).read_text(encoding="utf-8"))
            if notices(original):
                raise SystemExit(f"the tests of {module} fail without a change")
        yield from (one for one, noticed in zip(chosen, threads.map(notices, chosen), strict=True) if not noticed)


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


def _notices(copy: Path, mutant: Mutant) -> bool:
    """Whether the module's tests fail with the mutant in its place."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *MODULES[mutant.module].split()]
    # Without compiled files: one of another mutant, as long and as old, would be taken for this one's.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    file = copy / mutant.module
    original = file.read_bytes()
    file.write_text(mutant.source, encoding="utf-8")
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_bytes(original)
    return run.returncode != 0


def _line(mutant: Mutant) -> str:
    return mutant.source.splitlines()[mutant.line - 1].strip()


if __name__ == "__main__":
    main()
