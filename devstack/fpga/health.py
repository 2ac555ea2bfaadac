"""The health of a service, for gRPC health checking and the model's status."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from protos import health_pb2

# The services that callers may check; the empty name is the whole server.
NAMES = (
    "",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "inference.GRPCInferenceService",
    "grpc.health.v1.Health",
)

# Watchers get a change at once, but one by a file of faults only after this time, in seconds.
_POLL_SECONDS = 0.25

Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """SERVING or NOT_SERVING, with its watchers. ``impaired`` says whether a fault makes it NOT_SERVING."""

    def __init__(self, impaired: Callable[[], bool]) -> None:
        self._impaired = impaired
        # _closed: the service has stopped
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set(self, *, serving: bool) -> None:
        self._serving = serving
        self._notify()

    def open(self) -> None:
        self._closed = False
        self.set(serving=True)

    def close(self) -> None:
        """Send NOT_SERVING to every watcher, and end the watches."""
        self._closed = True
        self.set(serving=False)

    @property
    def serving(self) -> bool:
        return self._serving and not self._impaired()

    def status(self, name: str) -> Status | None:
        """The status of a service by its full name; None for an unknown one."""
        if name not in NAMES:
            return None
        return health_pb2.HealthCheckResponse.SERVING if self.serving else health_pb2.HealthCheckResponse.NOT_SERVING

    async def watch(self, name: str) -> AsyncIterator[Status]:
        """The current status, then each change. Ends when the service stops."""
        last: Status | None = None
        while True:
            # Read before the status, so that no change during the yield is missed.
            changed, closed = self._changed, self._closed
            current = self.status(name) or health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if current != last:
                yield current
                last = current
            if closed:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _POLL_SECONDS)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
