"""Whether a service says that it is well: the state behind gRPC health checking and the model's status."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from protos import health_pb2

# Of the services that a caller may ask about; the empty name is the server as a whole.
NAMES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health")

# A watcher hears of a change at once; a fault that is switched by a file is looked for this often.
_LOOK_SECONDS = 0.25

Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """SERVING or NOT_SERVING, and those who watch it. ``impaired`` is asked for faults that say otherwise."""

    def __init__(self, impaired: Callable[[], bool]) -> None:
        self._impaired = impaired
        # Both False until the service has started; closed for good once it stops.
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
        """Say NOT_SERVING to every watcher, and end the watches."""
        self._closed = True
        self.set(serving=False)

    @property
    def serving(self) -> bool:
        return self._serving and not self._impaired()

    def status(self, name: str) -> Status | None:
        """The status of a service by its full name; None for one that is not known."""
        if name not in NAMES:
            return None
        return health_pb2.HealthCheckResponse.SERVING if self.serving else health_pb2.HealthCheckResponse.NOT_SERVING

    async def watch(self, name: str) -> AsyncIterator[Status]:
        """The status now, then each change of it. Ends when the service stops."""
        last: Status | None = None
        while True:
            # Taken before the status, so that nothing that happens while a caller reads is missed.
            changed, closed = self._changed, self._closed
            current = self.status(name) or health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if current != last:
                yield current
                last = current
            if closed:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
