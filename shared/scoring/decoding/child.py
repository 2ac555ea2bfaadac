"""The program of a decoder process: decodes images from its standard input, one after the other.

It ends when the input does, and after a minute without an image, which returns all memory to the system.
"""

import json
import os
import pickle
import select
import sys
from pathlib import Path
from typing import BinaryIO

from shared.errors import GatewayError
from shared.scoring.decoding.process import DONE, FAILED, REQUEST, RESPONSE
from shared.scoring.decoding.work import Work

_IDLE_SECONDS = 60.0
# What decoding may allocate beyond the estimate: the decoders' threads, and what grows with the file's complexity.
_FACTOR, _MARGIN = 1.25, 100_000_000


def main() -> None:
    """Serve until the input ends, or for too long nothing comes."""
    # A decoder that prints must not write into the responses.
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    while select.select([requests], [], [], _IDLE_SECONDS)[0]:
        header = requests.read(REQUEST.size)
        if len(header) < REQUEST.size:
            return
        work_size, file_size, memory = REQUEST.unpack(header)
        work: Work = pickle.loads(requests.read(work_size))  # noqa: S301 - from the worker itself
        _limit_memory(memory)
        _respond(responses, work, requests.read(file_size))


def _respond(responses: BinaryIO, work: Work, data: bytes) -> None:
    try:
        status, content = DONE, work(data)
    except GatewayError as error:
        document = {"slug": error.slug, "detail": error.detail, "members": error.members}
        status, content = FAILED, memoryview(json.dumps(document).encode())
    responses.write(RESPONSE.pack(status, len(content)))
    responses.write(content)
    responses.flush()


def _limit_memory(estimate: int) -> None:
    """Let allocations fail that exceed the estimate by far: the file is not what its header states."""
    if sys.platform != "linux":
        return
    import resource  # noqa: PLC0415 - not on all platforms

    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + int(estimate * _FACTOR) + _MARGIN, hard))


if __name__ == "__main__":
    main()
