"""Work for decoder processes, which import it: what a decoder might do."""

import os
import time
from dataclasses import dataclass

from shared.errors import DamagedImage


@dataclass(frozen=True)
class Sleep:
    """Work that takes its time."""

    seconds: float

    def __call__(self, _: bytes) -> bytes:
        time.sleep(self.seconds)
        return b"slept"


@dataclass(frozen=True)
class End:
    """Work during which the process ends, as by a fault of a decoder."""

    by: int

    def __call__(self, _: bytes) -> bytes:
        os.kill(os.getpid(), self.by)
        time.sleep(60)
        return b""


@dataclass(frozen=True)
class Allocate:
    """Work that takes more memory than the image's header promised."""

    size: int

    def __call__(self, _: bytes) -> bytes:
        try:
            return str(len(bytes(self.size))).encode()
        except MemoryError as error:
            raise DamagedImage("no memory") from error


@dataclass(frozen=True)
class Environment:
    """The process's variables."""

    def __call__(self, _: bytes) -> bytes:
        return repr(dict(os.environ)).encode()
