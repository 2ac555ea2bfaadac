"""What the benchmarks' commands share: argument types, and exit codes for the failures that can be expected."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from benchmarks.harness.errors import BenchmarkFailed
from devstack.host.errors import HostError
from devstack.photos import PhotoError
from devstack.state import StateUnusable
from devstack.supervisor import StackFailed

_EXPECTED = (BenchmarkFailed, HostError, PhotoError, StackFailed, StateUnusable)


def exit_code(work: Callable[[], object]) -> int:
    """Do the work; returns 0, or 1 after an expected failure, whose message goes to standard error, or 130 (Ctrl-C)."""
    if sys.platform != "linux":
        print("Processes and connections are measured by /proc and epoll, which only Linux has: run this there.")
        return 1
    try:
        work()
    except _EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output has closed it; the interpreter's last flush must not fail over it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def count_and_size(program: str, count: int, arguments: Sequence[str] | None) -> tuple[int, int]:
    """Parse the arguments of a command that compares calls with a JPEG: their number, and the JPEG's size in bytes."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    add = parser.add_argument
    add("--count", type=at_least(2), default=count, metavar="N", help="calls of each kind (default: %(default)s)")
    add("--bytes", type=at_least(2000), default=20_000, metavar="N", help="of the JPEG (default: %(default)s)")
    options = parser.parse_args(arguments)
    return options.count, options.bytes


def at_least(least: int) -> Callable[[str], int]:
    """A type of command-line argument: a whole number, not smaller than ``least``."""

    def whole(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"must be a whole number, {least} or more, not {text!r}")
        return int(text)

    return whole
