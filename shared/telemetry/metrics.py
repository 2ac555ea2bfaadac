"""Every metric of the gateway: docs/reference/metrics.md lists them from here.

Names, units and attributes are OpenTelemetry's where it has any.
"""

from collections.abc import Callable, Iterable, Iterator

from shared.telemetry.instruments import (
    SHORT_SECONDS,
    About,
    Attributes,
    Counter,
    Gauge,
    Histogram,
    Instrument,
    mean,
)

_SERVICE, _ENDPOINT, _ERROR = "scoring.service", "scoring.endpoint", "error.type"

REQUEST_DURATION = Histogram(
    About(
        "scoring.request.duration",
        "s",
        "Time of a request that scores, in the worker; the outcome is ok, rejected (4xx) or failed (5xx).",
        (_SERVICE, _ENDPOINT, "scoring.outcome"),
    )
)
WITHIN_TARGET = Counter(
    About(
        "scoring.requests.within_target",
        "{request}",
        "Requests that were scored within the latency target, the time of the inference service not counted.",
        (_SERVICE, _ENDPOINT),
    )
)
REQUEST_ERRORS = Counter(
    About(
        "scoring.request.errors",
        "{request}",
        "Requests that were rejected or failed, by problem type.",
        (_SERVICE, _ENDPOINT, _ERROR),
    )
)
PART_DURATION = Histogram(
    About(
        "scoring.part.duration",
        "s",
        "Time of a part of a request, as in Server-Timing; the parts of several images add up.",
        (_SERVICE, "scoring.part"),
    ),
    SHORT_SECONDS,
)
CALL_DURATION = Histogram(
    About(
        "rpc.client.call.duration",
        "s",
        "Time of a gRPC call to an inference service.",
        ("rpc.system.name", "rpc.method", "rpc.response.status_code", _ERROR, _SERVICE),
    )
)
IMAGES = Counter(
    About(
        "scoring.images",
        "{image}",
        "Images that were prepared for a service: forwarded as they are, or decoded.",
        (_SERVICE, "scoring.image.handling"),
    )
)
REFUSALS = Counter(
    About(
        "scoring.refusals",
        "{request}",
        "Requests, or images of one, that were refused for want of capacity: the admission's limit, the deadline, the "
        "memory for bodies or for decoding.",
        (_SERVICE, "scoring.refusal.reason"),
    )
)
ADMISSION_LIMIT = Gauge(
    About("scoring.admission.limit", "{image}", "Images that may be in progress at a service.", (_SERVICE,))
)
ADMISSION_IMAGES = Gauge(
    About("scoring.admission.in_progress", "{image}", "Images that are in progress at a service.", (_SERVICE,))
)
ADMISSION_PACE = Gauge(
    About("scoring.admission.pace", "s", "Time that a service takes for each image that it has.", (_SERVICE,)), mean
)
RETRIES = Counter(
    About(
        "scoring.retries",
        "{call}",
        "Calls to a service that were tried again, after a disconnection, a distrusted certificate or a refused key.",
        (_SERVICE, "scoring.retry.reason"),
    )
)
RETRY_BUDGET = Gauge(
    About("scoring.retry.budget", "{call}", "Retries that the budget allows at the moment.", (_SERVICE,))
)
CREDENTIALS_AGE = Gauge(About("scoring.credentials.age", "s", "Time since keys and pins were read.", (_SERVICE,)), max)
CREDENTIALS_REFRESH = Gauge(
    About("scoring.credentials.refresh", "s", "The age at which keys and pins are read again.", (_SERVICE,)), max
)
CREDENTIALS_READS = Counter(
    About(
        "scoring.credentials.reads",
        "{read}",
        "Reads of a service's keys and pins; one that failed has the problem type.",
        (_SERVICE, _ERROR),
    )
)
CHANNEL_REPLACEMENTS = Counter(
    About(
        "scoring.channel.replacements",
        "{channel}",
        "Channels that were replaced since pins were added or removed, or whose replacement did not connect.",
        (_SERVICE, "scoring.replacement.reason"),
    )
)
CERTIFICATE_REMAINING = Gauge(
    About(
        "scoring.certificate.remaining",
        "s",
        "Time until a certificate expires: the last of the pinned ones, the one that the service presents, or the "
        "gateway's own for mutual TLS.",
        (_SERVICE, "scoring.certificate.kind"),
    ),
    min,
)
ROTATION_EVENTS = Counter(
    About(
        "scoring.rotation.events",
        "{event}",
        "Events of rotations, and problems that blocked them.",
        (_SERVICE, "scoring.rotation.event"),
    )
)
ROTATION_PHASE_AGE = Gauge(
    About(
        "scoring.rotation.phase.age",
        "s",
        "Time since the last event of a rotation, with the phase that it is in; for an hour after it was observed.",
        (_SERVICE, "scoring.rotation.phase"),
    ),
    max,
)
MEMORY_USE = Gauge(
    About("scoring.memory.use", "By", "Memory that images take: bodies, and decoding.", ("scoring.memory.kind",))
)
MEMORY_LIMIT = Gauge(About("scoring.memory.limit", "By", "Memory that images may take."))
TRAFFIC_SHARE = Gauge(
    About(
        "scoring.traffic.share",
        "1",
        "A member's share of the requests to a split, from 0 to 1.",
        (_SERVICE, "scoring.traffic.member"),
    ),
    mean,
)
LOG_RECORDS = Counter(
    About(
        "scoring.log.records",
        "{record}",
        "Warnings and errors in the log, by the function that logged them; also those outside of a request.",
        ("scoring.log.level", "code.function.name"),
    )
)
EXPORTS = Counter(
    About(
        "scoring.telemetry.exports",
        "{export}",
        "Exports of telemetry: sent, accepted in part (partial), refused and sent again, or lost.",
        ("scoring.telemetry.signal", "scoring.outcome"),
    )
)
DROPPED_SPANS = Counter(
    About("scoring.telemetry.dropped_spans", "{span}", "Spans that were dropped since too many waited to be exported.")
)

INSTRUMENTS: tuple[Instrument, ...] = tuple(
    one for one in globals().copy().values() if isinstance(one, Counter | Histogram | Gauge)
)
BY_NAME = {one.about.name: one for one in INSTRUMENTS}

# What the gateways of this process have to observe.
type Observed = Iterable[tuple[Gauge, Attributes, float]]
_observers: list[Callable[[], Observed]] = []


def observe(observer: Callable[[], Observed]) -> Callable[[], None]:
    """Have a function called at each export, for gauges; returns a function that ends that.

    It is called in the exporting thread, and must only read.
    """
    _observers.append(observer)
    return lambda: _observers.remove(observer)


def observed() -> Iterator[tuple[Gauge, Attributes, float]]:
    """What there is to observe at the moment."""
    for observer in tuple(_observers):
        yield from observer()
