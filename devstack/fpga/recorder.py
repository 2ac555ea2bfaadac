"""A record of the calls that arrived, for tests. It never contains a key."""

import json
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TextIO

from devstack.fpga.access import KeyName

_KEPT = 1000

KeyShown = KeyName | Literal["wrong", "none", "unchecked"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived: ``timeout`` is the time left until its deadline, in seconds; ``peer`` the connection."""

    method: str
    key: KeyShown
    peer: str
    timeout: float | None
    request_bytes: int
    metadata: dict[str, str]


class Recorder:
    """Keeps the last thousand calls and, with a file, appends each to it as a line of JSON."""

    def __init__(self, path: Path | None = None) -> None:
        self.calls: deque[Call] = deque(maxlen=_KEPT)
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    def add(self, call: Call) -> None:
        self.calls.append(call)
        if self._file:
            self._file.write(json.dumps(asdict(call)) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
