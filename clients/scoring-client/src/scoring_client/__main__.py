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

# The exit code of a program ended by a signal is this plus the signal's number, by the convention of shells.
_SIGNALLED = 128
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Raises:
        SystemExit: the command line is invalid, or asks for help.
    """
    for stream in (sys.stdout, sys.stderr):
        _escape_unencodable(stream)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:2] in (["golden", "record"], ["golden", "check"]):
        return _golden(given[1:])
    options = parse(given)
    try:
        # Before the event loop, which could not end while a thread waits for input.
        stdin = sys.stdin.buffer.read(MAX_BYTES + 1) if STDIN in options.paths else b""
        return asyncio.run(_run(Session(options, stdin)))
    except Stop as stop:
        return _report(str(stop), stop.code)
    except BrokenPipeError:
        # The reader of the results has ended; Python would report that again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except OSError as error:
        return _report(f"the results cannot be written: {error.strerror or error}", SOME_FAILED)
    except KeyboardInterrupt:
        return _report("interrupted", _SIGNALLED + signal.SIGINT)


def _golden(arguments: Sequence[str]) -> int:
    from scoring_client import golden  # noqa: PLC0415 - most runs do not need it

    try:
        return asyncio.run(golden.run(golden.parse(arguments)))
    except Stop as stop:
        return _report(str(stop), stop.code)
    except KeyboardInterrupt:
        return _report("interrupted", _SIGNALLED + signal.SIGINT)


async def _run(session: Session) -> int:
    options, counts = session.options, session.counts
    received = _handle_signals()
    try:
        await session.run()
    except Stop:
        if counts.scored:
            _write(f"{counts.summary}, and then:")
        raise
    except asyncio.CancelledError:
        more = f"; continue with --resume --out {options.out}" if options.output == "jsonl" and options.out else ""
        number = received[0] if received else signal.SIGINT
        return _report(f"interrupted: {counts.summary}{more}", _SIGNALLED + number)
    finally:
        _restore_signals()
    if not counts.scored + counts.failed + counts.skipped:
        return _report("no image was found: in folders, images are found by suffix, such as .jpg and .png", USAGE)
    if _has_summary(options, counts.failed):
        _write(counts.summary)
    return SOME_FAILED if counts.failed else ALL_SCORED


def _has_summary(options: Options, failed: int) -> bool:
    return not options.quiet and bool(failed or options.out or len(options.paths) > 1)


def _handle_signals() -> list[int]:
    """Cancel the run when a signal arrives; the signal's number is then in the list.

    A second signal ends the program at once.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        _restore_signals()
        if task:
            task.cancel()

    # Windows has no such handlers, and other threads must not have any: there asyncio cancels the run at Ctrl-C.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            loop.add_signal_handler(number, end, number)
    return received


def _restore_signals() -> None:
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _report(message: str, code: int) -> int:
    _write(message)
    return code


def _write(message: str) -> None:
    sys.stderr.write(f"scoring-client: {printable(message)}\n")


def _escape_unencodable(stream: TextIO) -> None:
    """Escape characters that the terminal's encoding lacks, instead of failing at them."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
