"""What takes exports: the interface that the exporter sends through, and what became of one export."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.telemetry.snapshot import Snapshot
    from shared.telemetry.tracer import FinishedRequest

# How an export ended: accepted, as a whole or in part; not accepted, and to be sent again; not accepted for good, or
# not answered, so that it may have arrived. What is lost is not sent again: rather not at all than twice.
SENT, PARTIAL, REFUSED, LOST = "sent", "partial", "refused", "lost"


class Outcome(NamedTuple):
    """How an export ended, why it failed, and the seconds for which the receiver asked to get no other."""

    result: str
    why: str = ""
    pause: float = 0.0


class Receiver(Protocol):
    """Takes exports, one at a time; each method blocks for so many seconds at most."""

    # As it is called in the log.
    name: str

    def metrics(self, snapshot: "Snapshot", seconds: float) -> Outcome: ...

    def traces(self, finished: "Sequence[FinishedRequest]", seconds: float) -> Outcome: ...

    def close(self) -> None: ...
