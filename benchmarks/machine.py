"""What Linux tells of processes: how busy other ones keep the machine, and what one holds (proc(5)).

And which processors a process may use (sched_setaffinity(2)).
"""

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_KIB = 1024


class Processors(NamedTuple):
    """Who computes where: the program that is measured, and all that it talks to and that talks to it."""

    measured: frozenset[int]
    others: frozenset[int]

    @classmethod
    @functools.cache
    def split(cls) -> "Processors":
        """One for what is measured, the rest for the others; on a machine with a single one they share it.

        It is decided once in a process: after :func:`pin` there would be less to split.
        """
        first, *rest = sorted(available())
        return cls(frozenset({first}), frozenset(rest or {first}))


def available() -> set[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def pin(processors: Iterable[int]) -> None:
    """Keep this process, its threads and whatever it starts from here on to these processors, where that can be."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in (_PROC / "self" / "task").iterdir():
        # The call is about a thread, not a process; one may have ended since they were listed.
        try:
            os.sched_setaffinity(int(thread.name), processors)
        except ProcessLookupError:
            continue


class Load:
    """How much of the machine's processors other processes use than this one, ``pids``, and all of ``families``.

    A family is a process, by its id, with whatever it has started, and what that has started in turn.

    What the kernel does for the network (soft interrupts) is counted as nobody's: on loopback it is mostly the work
    of those who are measured.
    """

    def __init__(self, pids: Iterable[int], families: Iterable[int] = ()) -> None:
        self._pids = ["self", *map(str, pids)]
        self._families = frozenset(families)
        self._last = self._read()

    def others(self) -> float:
        """Their share since the last look, from 0 to 1, and 0 where the system does not tell.

        The system counts in hundredths of a second: over less than some tenths of one the share is rough.
        """
        (busy, everything, ours), self._last = self._last, self._read()
        passed = self._last[1] - everything
        return max(0.0, (self._last[0] - busy) - (self._last[2] - ours)) / passed if passed else 0.0

    def _read(self) -> tuple[int, int, int]:
        """Ticks since the start that the processors were busy, in all, and busy for us."""
        try:
            # user nice system idle iowait irq softirq steal; the guests' times are in the user's.
            ticks = [int(word) for word in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
            ours = sum(self._ticks(pid) for pid in self._pids)
        except OSError:
            return 0, 0, 0
        ours += _family_ticks(self._families) if self._families else 0
        user, nice, system, idle, iowait, irq, softirq, steal = ticks
        return user + nice + system + steal, sum((user, nice, system, idle, iowait, irq, softirq, steal)), ours

    @staticmethod
    def _ticks(pid: str) -> int:
        # The name, in parentheses, may hold anything; utime and stime are fields 14 and 15 of the whole.
        fields = (_PROC / pid / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


class _Process(NamedTuple):
    parent: int
    ticks: int


def family_seconds(*pids: int) -> float:
    """The processor time that living processes, with all that they have started, have used: seconds, in hundredths."""
    return _family_ticks(pids) / os.sysconf("SC_CLK_TCK")


def _family_ticks(pids: Iterable[int]) -> int:
    processes = dict(_processes())
    children: dict[int, list[int]] = {}
    for pid, each in processes.items():
        children.setdefault(each.parent, []).append(pid)
    ticks, ahead = 0, [pid for pid in pids if pid in processes]
    while ahead:
        pid = ahead.pop()
        ticks += processes[pid].ticks
        ahead += children.get(pid, [])
    return ticks


def _processes() -> Iterator[tuple[int, _Process]]:
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended since it was listed
        yield int(folder.name), _Process(int(fields[1]), int(fields[11]) + int(fields[12]))


@dataclass(frozen=True)
class Footprint:
    """What a process holds: resident memory in MB (10^6 bytes), and the numbers of open files and of threads."""

    resident_mb: float
    files: int
    sockets: int
    threads: int

    @classmethod
    def of(cls, pid: int | None = None) -> "Footprint":
        """Of a process, or of this one.

        Raises:
            OSError: the process is gone, or the system has no /proc.
        """
        folder = _PROC / (str(pid) if pid else "self")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        links = [_target(link) for link in (folder / "fd").iterdir()]
        return cls(
            resident_mb=int(status["VmRSS"].split()[0]) * _KIB / 1e6,
            files=sum(1 for link in links if link),
            sockets=sum(1 for link in links if link.startswith("socket:")),
            threads=int(status["Threads"]),
        )


def _target(link: Path) -> str:
    """What an open file is; empty for one that was closed since it was listed, as is the list itself."""
    try:
        return str(link.readlink())
    except OSError:
        return ""
