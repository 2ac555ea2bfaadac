"""Progress on a terminal: on stderr, so that results can be redirected."""

import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from scoring_client.files import Source

# The total is updated after this many files.
_STEP = 500


class Silent:
    """No bar: stderr is not a terminal, or --quiet was given."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to remove."""

    def advance(self) -> None:
        """Count one more finished image."""

    def above(self, text: str, *, to_stdout: bool) -> None:
        """Write whole lines."""
        stream = sys.stdout if to_stdout else sys.stderr
        stream.write(text)
        stream.flush()


class Bar(Silent):
    """A bar with the numbers of finished and found images; other terminal output is written above it.

    ``found`` is a second walk, which only counts, in a separate thread.
    """

    def __init__(self, found: Iterator[Source]) -> None:
        # rich takes 0.1 s to import, which only runs with a bar need to pay.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns: list[Any] = [TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        console = Console(stderr=True, soft_wrap=True)
        self._progress = Progress(*columns, console=console, transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("scoring", total=None)
        self._found = found
        self._stopped = threading.Event()

    def __enter__(self) -> "Bar":
        self._progress.start()
        self._counter = threading.Thread(target=self._count, name="count", daemon=True)
        self._counter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._progress.stop()

    def advance(self) -> None:
        self._progress.advance(self._task)

    def above(self, text: str, *, to_stdout: bool) -> None:
        if to_stdout and not sys.stdout.isatty():
            super().above(text, to_stdout=True)
        else:
            self._progress.console.out(text, end="", highlight=False)

    def _count(self) -> None:
        count = 0
        for count, _ in enumerate(self._found, 1):
            if self._stopped.is_set():
                return
            if not count % _STEP:
                self._progress.update(self._task, total=count)
        self._progress.update(self._task, total=count)
