"""The command: ``scoring-client`` or ``python -m scoring_client``."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from scoring_client.files import MAX_BYTES, STDIN
from scoring_client.options import Options, parse
from scoring_client.results import ALL_SCORED, SOME_FAILED, USAGE, Stop, printable
from scoring_client.session import Session

# What a shell adds to a signal's number.
_SIGNALLED = 128
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        SystemExit: the command line makes no sense, or asks for help.
    """
    for stream in (sys.stdout, sys.stderr):
        _forgive(stream)
    options = parse(arguments)
    try:
        # Before the event loop, which could not be left while a thread waits for somebody to type.
        stdin = sys.stdin.buffer.read(MAX_BYTES + 1) if STDIN in options.paths else b""
        return asyncio.run(_run(Session(options, stdin)))
    except Stop as stop:
        return _said(str(stop), stop.code)
    except BrokenPipeError:
        # Whoever read the results has gone; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except OSError as error:
        return _said(f"the results cannot be written: {error.strerror or error}", SOME_FAILED)
    except KeyboardInterrupt:
        return _said("interrupted", _SIGNALLED + signal.SIGINT)


async def _run(session: Session) -> int:
    options, counts = session.options, session.counts
    received = _listen()
    try:
        await session.run()
    except Stop:
        if counts.scored:
            _say(f"{counts.summary}, and then:")
        raise
    except asyncio.CancelledError:
        more = f"; go on with --resume --out {options.out}" if options.output == "jsonl" and options.out else ""
        number = received[0] if received else signal.SIGINT
        return _said(f"interrupted: {counts.summary}{more}", _SIGNALLED + number)
    finally:
        _unlisten()
    if not counts.scored + counts.failed + counts.skipped:
        return _said("no image is there: a folder's are known by their suffixes, such as .jpg and .png", USAGE)
    if _is_worth_a_summary(options, counts.failed):
        _say(counts.summary)
    return SOME_FAILED if counts.failed else ALL_SCORED


def _is_worth_a_summary(options: Options, failed: int) -> bool:
    return not options.quiet and bool(failed or options.out or len(options.paths) > 1)


def _listen() -> list[int]:
    """End the run at its next pause when a signal asks for it; the signal's number is then in the list.

    A second signal ends the program at once.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        _unlisten()
        if task:
            task.cancel()

    # Windows has no such handlers, and only the main thread may have them: there asyncio ends the run at Ctrl-C.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            loop.add_signal_handler(number, end, number)
    return received


def _unlisten() -> None:
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _said(message: str, code: int) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    sys.stderr.write(f"scoring-client: {printable(message)}\n")


def _forgive(stream: TextIO) -> None:
    """Let a terminal that has no sign for a letter show another, instead of ending the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
