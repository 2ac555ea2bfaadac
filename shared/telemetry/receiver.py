"""What takes exports: the interface that the exporter sends through, and what became of one export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shared.telemetry.snapshot import Snapshot
    from shared.telemetry.tracer import FinishedRequest

# How an export ended: accepted, as a whole or in part; not accepted, and to be sent again; not accepted for good, or
# not answered, so that it may have arrived. What is lost is not sent again: rather not at all than twice.
SENT, PARTIAL, REFUSED, LOST = "sent", "partial", "refused", "lost"


@dataclass(frozen=True)
class Outcome:
    """How an export ended, why it failed, and the seconds for which the receiver asked to get no other."""

    result: str
    why: str = ""
    pause: float = 0.0


@dataclass(frozen=True)
class Target:
    """Where one signal is sent to, and how; ``seconds`` is the time for one export."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 10.0
    compressed: bool = False
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    grpc: bool = False


class Receiver(Protocol):
    """Takes exports, one at a time; each method blocks for so many seconds at most."""

    # As it is called in the log.
    name: str

    def metrics(self, snapshot: "Snapshot", seconds: float) -> Outcome: ...

    def traces(self, finished: "Sequence[FinishedRequest]", seconds: float) -> Outcome: ...

    def close(self) -> None: ...
