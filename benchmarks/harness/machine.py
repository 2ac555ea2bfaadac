"""Processors and processes on Linux: pinning, processor time, memory, open files."""

import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]  # published without type information

_PROC = Path("/proc")


class Processors(NamedTuple):
    """The processors of the measured program, and those of the programs around it."""

    measured: frozenset[int]
    others: frozenset[int]

    @classmethod
    @functools.cache
    def split(cls) -> "Processors":
        """One for the measured program and the rest for the others; a single processor is shared.

        Decided once in a process: after :func:`pin` there would be less to split.
        """
        first, *rest = sorted(available())
        return cls(frozenset({first}), frozenset(rest or {first}))


def available() -> set[int]:
    """The processors that this process may use."""
    return os.sched_getaffinity(0)


def pin(processors: Iterable[int]) -> None:
    """Restrict this process, its threads and the processes that it starts from now on to these processors."""
    for thread in (_PROC / "self" / "task").iterdir():
        # The call is about a thread, not a process; one may have ended since they were listed.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), processors)


@contextmanager
def pinned(processors: Iterable[int]) -> Iterator[None]:
    """As :func:`pin`, until the context ends."""
    before = available()
    pin(processors)
    try:
        yield
    finally:
        pin(before)


class CpuLoad:
    """The share of the machine's processor time that goes to unrelated processes.

    Related are this process, children of it that have ended, and ``families``: process ids, with all descendants. Time
    in soft interrupts is not counted: on loopback, most of it is the measured programs' network traffic.
    """

    def __init__(self, families: Iterable[int] = ()) -> None:
        self._families = frozenset(families)
        self._last = self._read()

    def others(self) -> float:
        """The share since the last call, from 0 to 1; rough over less than some tenths of a second."""
        (unrelated, total), self._last = self._last, self._read()
        return max(0.0, self._last[0] - unrelated) / max(0.01, self._last[1] - total)

    def _read(self) -> tuple[float, float]:
        """Seconds since the system's start: of unrelated processes, and in all."""
        times = psutil.cpu_times()
        related = sum(psutil.Process().cpu_times()[:4]) + cpu_seconds(self._families)
        busy = times.user + times.nice + times.system + times.steal
        return busy - related, busy + times.idle + times.iowait + times.irq + times.softirq


def cpu_seconds(families: Iterable[int]) -> float:
    """The processor time of processes with all their descendants, in seconds, to a hundredth."""
    seconds = 0.0
    for pid in families:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # it has ended since they were listed
                # User, system, and both of children that have ended.
                seconds += sum(each.cpu_times()[:4])
    return seconds


# The kinds of a Python process's threads.
EVENT_LOOP, OTHER_PYTHON, GRPC_CORE = "event_loop", "other_python", "grpc_core"


def thread_seconds(pid: int) -> dict[str, float]:
    """The processor time of a process's threads on Linux, in seconds, by their kind: gRPC names those of its core."""
    found = dict.fromkeys((EVENT_LOOP, OTHER_PYTHON, GRPC_CORE), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has ended since they were listed
            name, time = ((task / file).read_text() for file in ("comm", "schedstat"))
            is_core = name.startswith(("event_engine", "grpc", "resolver", "timer"))
            kind = EVENT_LOOP if task.name == str(pid) else GRPC_CORE if is_core else OTHER_PYTHON
            found[kind] += int(time.split()[0]) / 1e9
    return found


class Footprint(NamedTuple):
    """A process's resident memory in MB (10^6 bytes), and its numbers of open files, sockets and threads."""

    resident_mb: float
    files: int
    sockets: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """Of a process.

        Raises:
            psutil.NoSuchProcess: it has ended.
        """
        process = psutil.Process(pid)
        sockets = len(process.net_connections("all"))
        return cls(process.memory_info().rss / 1e6, process.num_fds(), sockets, process.num_threads())

    @property
    def counts(self) -> tuple[int, int, int]:
        """All but the memory, beginning with the number that varies most."""
        return self.sockets, self.threads, self.files
