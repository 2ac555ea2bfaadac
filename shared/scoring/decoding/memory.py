"""The memory that images may take: bodies with their copies, and what is being decoded, of all services together.

A body is there already when its request is seen, so it is counted or refused at once. An image that is to be decoded
waits until its share is free. Small images do not wait behind large ones.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import BodyTooLarge, GatewayBusy, ImageTooLarge
from shared.telemetry import RequestContext, metrics

# A body, what is cut out of it or decoded from base64, and the message to the service.
BODY_COPIES = 3
# The rest of an instance is for the host, the worker with its channels, and the decoder processes themselves.
_SHARE, _LARGEST_DEFAULT = 3 / 8, 670_000_000
_RETRY_AFTER = 1

_CGROUPS, _CGROUP_FILES = Path("/sys/fs/cgroup"), ("memory.max", "memory/memory.limit_in_bytes")


def default_budget() -> int:
    """Three eighths of the instance's memory, at most 670 MB, enough for one image of 50 megapixels in any format."""
    return min(int(_SHARE * instance_memory()), _LARGEST_DEFAULT)


def instance_memory(cgroups: Path = _CGROUPS) -> int:
    """Bytes of memory that the instance has: the limit of its control group (version 2 or 1), or else the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _CGROUP_FILES:
        try:
            limit = (cgroups / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdecimal():  # "max" where there is none
            return min(int(limit), machine)
    return machine


class Memory:
    """Counts bytes, of ``total`` at most; belongs to one event loop."""

    # _bodies    bytes of bodies, half of the total at most, so that images can always be decoded
    # _decoding  bytes of images that are being decoded
    # _waiting   images that wait for their share, small ones first

    def __init__(self, total: int) -> None:
        self.total = total
        self._bodies = 0
        self._decoding = 0
        self._waiting: tuple[deque[_Waiter], deque[_Waiter]] = deque(), deque()

    @property
    def used(self) -> Mapping[str, int]:
        """Bytes of bodies, and of images that are being decoded."""
        return {"bodies": self._bodies, "decoding": self._decoding}

    def __repr__(self) -> str:
        return f"<Memory {self._bodies} bytes of bodies, {self._decoding} of decoding, of {self.total}>"

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Count a body of ``size`` bytes for the duration of a ``with`` block.

        Raises:
            BodyTooLarge: it does not fit, even alone.
            GatewayBusy: it does not fit beside the others.
        """
        counted, allowed = BODY_COPIES * size, self.total // 2
        if counted > allowed:
            limit = allowed // BODY_COPIES
            raise BodyTooLarge(
                f"The body has {size} bytes; this gateway has the memory for bodies of {limit} bytes.", limit=limit
            )
        if self._bodies + counted > allowed:
            metrics.REFUSALS.add(("", "body-memory"))
            raise GatewayBusy("The memory for bodies is in use by other requests.", retry_after=_RETRY_AFTER)
        self._bodies += counted
        try:
            yield
        finally:
            self._bodies -= counted
            self._admit()

    def check(self, size: int) -> None:
        """Refuse an image that cannot be decoded here.

        Raises:
            ImageTooLarge: it takes more than all of the memory.
        """
        if size > self.total:
            raise ImageTooLarge(
                f"Decoding the image takes about {size} bytes of memory; this gateway has {self.total}.",
                limit=self.total,
                unit="bytes of memory",
            )

    async def reserve(self, size: int, context: RequestContext, *, large: bool) -> None:
        """Wait until ``size`` bytes are free for decoding, and take them; :meth:`release` returns them.

        Raises:
            GatewayBusy: they were not free before the deadline.
        """
        queue = self._waiting[large]
        if not queue and self._fits(size):
            self._decoding += size
            return
        waiter = _Waiter(size)
        queue.append(waiter)
        try:
            async with context.timeout():
                await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.release(size)  # its turn came in the same moment
            else:
                queue.remove(waiter)
                self._admit()
            if isinstance(error, TimeoutError):
                metrics.REFUSALS.add(("", "decoding-memory"))
                raise busy("memory") from None
            raise

    def release(self, size: int) -> None:
        """Return what was reserved."""
        self._decoding -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        """One image is decoded even if bodies take its share: otherwise they might all wait for each other."""
        return not self._decoding or self._bodies + self._decoding + size <= self.total

    def _admit(self) -> None:
        for queue in self._waiting:
            while queue and self._fits(queue[0].size):
                waiter = queue.popleft()
                self._decoding += waiter.size
                waiter.turn.set_result(None)


class _Waiter:
    def __init__(self, size: int) -> None:
        self.size = size
        self.turn = asyncio.get_running_loop().create_future()


def busy(what: str) -> GatewayBusy:
    """The error of an image whose deadline passed while it waited."""
    return GatewayBusy(
        f"The deadline passed while the image was waiting for {what}, in use by other requests.",
        retry_after=_RETRY_AFTER,
    )
