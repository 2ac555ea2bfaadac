"""A process that decodes one image at a time, as the worker sees it; ``shared.scoring.decoding.child`` is its program.

A request is :data:`REQUEST`, the work (pickled) and the file; a response is :data:`RESPONSE` and the result, or JSON of
the error: nothing is unpickled that comes from a process that parses foreign files.
"""

import contextlib
import json
import pickle
import signal
import struct
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from shared import child_process
from shared.errors import DamagedImage, GatewayBusy, GatewayError, problem_types
from shared.scoring.decoding.work import Work

REQUEST = struct.Struct("<IIQ")  # the lengths of the work and of the file, the bytes that decoding may allocate
RESPONSE = struct.Struct("<BI")  # DONE or FAILED, the length of what follows
DONE, FAILED = 0, 1

_MODULE = "shared.scoring.decoding.child"


class DecoderProcess:
    """Starts with its first image, and again where it ended itself, idle, since the last one.

    :meth:`run` is for one thread at a time, :meth:`kill` for any.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False

    @property
    def is_usable(self) -> bool:
        return not self._killed

    def run(self, work: Work, data: bytes, memory: int) -> bytes:
        """The result of ``work`` on ``data``, for which decoding may allocate about ``memory`` bytes.

        Raises:
            GatewayError: as ``work`` does; or the process ended, because of the file, for want of memory, or by
                :meth:`kill`.
        """
        encoded = pickle.dumps(work)
        header = REQUEST.pack(len(encoded), len(data), memory) + encoded
        try:
            process = self._sent(header, data)
            status, length = RESPONSE.unpack(_read(process, RESPONSE.size))
            content = _read(process, length)
        except EOFError:
            raise self._ended() from None
        if status == DONE:
            return content
        raise _error(json.loads(content))

    def kill(self) -> None:
        """End the process with its work, for good."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process, which must be idle."""
        self.kill()
        self._reap()

    def _sent(self, header: bytes, data: bytes, *, again: bool = True) -> "subprocess.Popen[bytes]":
        """The process, with a request; another one where it had just ended itself."""
        with self._lock:
            if self._killed:
                raise EOFError
            if self._process is None:
                self._process = _start()
            process = self._process
        try:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            process.stdin.write(header)
            process.stdin.write(data)
            process.stdin.flush()
        except OSError:
            self._reap()
            if again:
                return self._sent(header, data, again=False)
            raise EOFError from None
        return process

    def _ended(self) -> GatewayError:
        """Why the process ended in the middle of its work."""
        code = self._reap()
        if self._killed:
            return GatewayBusy("The image's decoder was ended with its request.", retry_after=1)
        if code == -signal.SIGKILL:
            return GatewayBusy("The image's decoder was ended by the system, for want of memory.", retry_after=1)
        return DamagedImage("The image's decoder failed; the file is probably malformed.")

    def _reap(self) -> int:
        """Close what belongs to the process; returns its exit code."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        with contextlib.suppress(OSError), process:  # closes the pipes, and waits
            pass
        return process.returncode


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - a module of its own
        child_process.command(_MODULE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # decoders print warnings of each odd file
        env=child_process.environment(),
    )


def _read(process: "subprocess.Popen[bytes]", size: int) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    content = process.stdout.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _error(document: Mapping[str, Any]) -> GatewayError:
    kind = next((one for one in problem_types() if one.slug == document["slug"]), DamagedImage)
    return kind(document["detail"], **document["members"])
