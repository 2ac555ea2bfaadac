"""One run of the command: from the files named to the results written."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from scoring_client import pipeline
from scoring_client.files import STDIN, Source, Unreadable, check, read, walk
from scoring_client.gateway import Gateway, NotScored
from scoring_client.options import Options
from scoring_client.output import writer
from scoring_client.progress import Bar, Silent
from scoring_client.results import Failed, Result, Scored, printable
from scoring_client.resuming import open_output, resume


@dataclass
class Counts:
    """The images so far, by outcome."""

    scored: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def summary(self) -> str:
        parts = [f"{self.scored} scored"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.skipped} already done"] if self.skipped else []
        return ", ".join(parts)


@dataclass
class Session:
    """Scores the images that the options name. ``stdin`` holds the image of the path ``-``."""

    options: Options
    stdin: bytes = b""
    counts: Counts = field(default_factory=Counts)

    async def run(self) -> None:
        """Score everything; ``counts`` is kept up to date, also if this is cancelled.

        Raises:
            Stop: no further image can be scored, or the output cannot be used.
            OSError: the results cannot be written.
        """
        with ExitStack() as stack:
            done, write_file = self._open(stack)
            bar = stack.enter_context(self._bar())
            output = writer(self.options.output, write_file or (lambda text: bar.above(text, to_stdout=True)))
            stack.callback(output.close)

            def emit(result: Result) -> None:
                self._count(result, bar)
                output.write(result)
                bar.advance()

            sources = self._undone(done, bar)
            async with Gateway(self.options.target) as gateway:
                await pipeline.run(
                    pipeline.stream(sources),
                    lambda source: self._score(gateway, source),
                    emit,
                    self.options.target.concurrency,
                )

    def _open(self, stack: ExitStack) -> tuple[set[str], Callable[[str], object] | None]:
        """The files already scored, and a function that writes to the output file, or None for stdout."""
        options = self.options
        if not options.out:
            return set(), None
        file = stack.enter_context(open_output(options.out, resuming=options.resume, overwrite=options.overwrite))
        done = resume(file, options.target.service) if options.resume else set()
        return done, lambda text: file.write(text.encode("utf-8", "backslashreplace"))

    def _bar(self) -> Silent:
        if self.options.quiet or not sys.stderr.isatty():
            return Silent()
        return Bar(walk(self.options.paths))

    def _undone(self, done: set[str], bar: Silent) -> Iterator[Source]:
        for source in walk(self.options.paths):
            if source.name in done:
                self.counts.skipped += 1
                bar.advance()
            else:
                yield source

    async def _score(self, gateway: Gateway, source: Source) -> Result:
        if source.problem:
            return Failed(source.name, source.problem)
        try:
            image = check(self.stdin) if source.name == STDIN else await asyncio.to_thread(read, source.name)
            return Scored(source.name, await gateway.score(image))
        except (Unreadable, NotScored) as error:
            return Failed(source.name, error.problem)

    def _count(self, result: Result, bar: Silent) -> None:
        if isinstance(result, Scored):
            self.counts.scored += 1
        else:
            self.counts.failed += 1
            bar.above(f"{printable(result.file)}: {printable(result.problem.sentence)}\n", to_stdout=False)
