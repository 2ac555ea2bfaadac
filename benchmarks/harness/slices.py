"""Slices of load: a number of requests is kept under way for a short time (a closed loop)."""

from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from benchmarks.harness.noise import Measured, noise_counts


@dataclass
class Slice:
    """A stretch of load, begun at ``started`` with nothing under way; ``took`` are the times of the counted answers.

    Moments are in seconds of the monotonic clock: ``ended`` is that of the last counted answer. ``refused`` counts the
    answers 429 and 503, after which a request was sent again at once. Processor times are in seconds: of the load
    client's own thread, of the measured server, and of the services behind it.
    """

    started: float
    ended: float = 0.0
    took: list[float] = field(default_factory=list)
    refused: int = 0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    services_cpu: float = 0.0

    def add(self, started: float, ended: float) -> None:
        """Count an answered request."""
        self.took.append(ended - started)
        self.ended = ended

    @property
    def rate(self) -> float:
        """Answers a second, from the first request to the last answer that was counted."""
        return len(self.took) / (self.ended - self.started)


class Schedule(NamedTuple):
    """``rounds`` of slices of ``seconds``, each with at least ``least`` answers a connection.

    ``retries`` is the share of the slices that may be repeated because of noise.
    """

    rounds: int
    seconds: float
    least: int = 2
    retries: float = 0.5


@dataclass
class Samples:
    """The slices of one kind of load on one server; ``failed`` counts those that were repeated after an error."""

    taken: list[Measured[Slice]] = field(default_factory=list)
    failed: int = 0

    def summary(self) -> dict[str, float]:
        """For the results: requests a second, milliseconds, and processor time in milliseconds a request."""
        slices = [one.value for one in self.taken]
        times = sorted(time for one in slices for time in one.took)
        requests = len(times)
        return {
            "rps": median(one.rate for one in slices),
            "p50_ms": 1e3 * median(median(one.took) for one in slices),
            "p99_ms": 1e3 * times[int(requests * 0.99)],
            "server_cpu_ms": 1e3 * sum(one.server_cpu for one in slices) / requests,
            "services_cpu_ms": 1e3 * sum(one.services_cpu for one in slices) / requests,
            "client_cpu_ms": 1e3 * sum(one.client_cpu for one in slices) / requests,
            "requests": requests,
            "refused": sum(one.refused for one in slices),
            "slices": len(slices),
            "failed": self.failed,
            **noise_counts(self.taken),
        }
