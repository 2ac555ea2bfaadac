"""What Linux tells of processes: how busy other ones keep the machine, and what one holds (proc(5))."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024


class Load:
    """How much of the machine's processors other processes use than this one and ``pids``."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = ["self", *map(str, pids)]
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
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks), ours

    @staticmethod
    def _ticks(pid: str) -> int:
        # The name, in parentheses, may hold anything; utime and stime are fields 14 and 15 of the whole.
        fields = (_PROC / pid / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


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
