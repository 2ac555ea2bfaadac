"""How far it is, for whoever sits at the terminal: on stderr, so that results can go elsewhere."""

import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from scoring_client.files import Source

# The bar learns of so many more files at a time.
_STEP = 500


class Silent:
    """No bar: stderr is no terminal, or nobody wants one."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be cleared away."""

    def advance(self) -> None:
        """One more image is done."""

    def above(self, text: str, *, to_stdout: bool) -> None:
        """Write whole lines."""
        stream = sys.stdout if to_stdout else sys.stderr
        stream.write(text)
        stream.flush()


class Bar(Silent):
    """A bar with the count of what is done and what was found; what else is written to the terminal goes above it.

    A second walk counts what there is to do, in a thread of its own; it keeps no names.
    """

    def __init__(self, found: Iterator[Source]) -> None:
        # rich takes a tenth of a second to import, which only those pay who look at it.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns: list[Any] = [TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        console = Console(stderr=True, soft_wrap=True)
        self._progress = Progress(*columns, console=console, transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("scoring", total=None)
        self._found = found
        self._over = threading.Event()

    def __enter__(self) -> "Bar":
        self._progress.start()
        self._counter = threading.Thread(target=self._count, name="count", daemon=True)
        self._counter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
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
            if self._over.is_set():
                return
            if not count % _STEP:
                self._progress.update(self._task, total=count)
        self._progress.update(self._task, total=count)
