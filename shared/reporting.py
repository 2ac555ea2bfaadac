"""What a gateway reports of itself: its exports, and the figures for Prometheus. Made where a setting turns one on."""

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.settings import OtlpSettings, TelemetrySettings, VaultSettings
from shared.settings.telemetry import SAMPLERS, Compression, OtlpProtocol
from shared.telemetry import fault_path, log, metrics
from shared.telemetry.export import Exporter
from shared.telemetry.snapshot import take
from shared.telemetry.trace import random_id
from shared.telemetry.tracer import Sampler, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.rotation.scheduler import Rotations
    from shared.scoring.decoding.memory import Memory
    from shared.settings.insights import InsightsSettings
    from shared.telemetry.instruments import Attributes, Gauge
    from shared.telemetry.receiver import Receiver
    from shared.telemetry.target import Target
    from shared.telemetry.workers import Workers
    from shared.traffic.split import Split
    from shared.upstream.service import Upstream

    type Reading = tuple[Gauge, Attributes, float]

# Seconds between two writes of a worker's figures for the others.
SHARED_SECONDS = 2.0
# Seconds for which an observed rotation is reported: another instance's runs may have continued it meanwhile.
OBSERVED_SECONDS = 3600.0


class Reporting:
    """Exports metrics and traces in the background, and has the document of a scrape.

    ``tracer`` is None where traces are off. Key Vault's settings name the identity of the gateway.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        readings: "Callable[[], Iterator[Reading]]",
        vault: VaultSettings | None = None,
    ) -> None:
        self._end_observing = metrics.observe(readings)
        self.tracer = _tracer(settings) if settings.exports_traces else None
        self._exporter = _exporter(settings, self.tracer, vault or VaultSettings())
        if self._exporter is not None:
            self._exporter.start()
        self._workers: Workers | None = None
        self._closed = threading.Event()
        if settings.metrics_key:
            threading.Thread(target=self._share, name="metrics", daemon=True).start()

    def scrape(self) -> str:
        """The figures of all workers of this instance in Prometheus' format; blocks on files."""
        from shared.telemetry import prometheus  # noqa: PLC0415 - in a thread, not before the first score

        own = take()
        return prometheus.text(own if self._workers is None else self._workers.all(own))

    def flush(self, seconds: float) -> None:
        """Export now; blocks for that long at most."""
        if self._exporter is not None:
            self._exporter.flush(seconds)

    def close(self) -> None:
        self._closed.set()
        self._end_observing()
        if self._exporter is not None:
            self._exporter.close()

    def _share(self) -> None:
        from shared.telemetry.workers import Workers, folder_of_instance  # noqa: PLC0415 - as above

        self._workers = workers = Workers(folder_of_instance())
        while True:
            try:
                workers.write(take())
            except Exception as fault:  # the thread goes on
                log.error("metrics could not be shared: internal-error %s", fault_path(fault))
            if self._closed.wait(SHARED_SECONDS):
                workers.close()
                return


def _tracer(settings: TelemetrySettings) -> Tracer:
    follows, ratio = SAMPLERS[settings.sampler]
    return Tracer(Sampler(follows=follows, ratio=settings.ratio if ratio is None else ratio))


def _exporter(settings: TelemetrySettings, tracer: Tracer | None, vault: VaultSettings) -> Exporter | None:
    if not (settings.exports_metrics or settings.exports_traces):
        return None
    instance = random_id(16)

    def make() -> "Receiver":
        # In the exporting thread: these imports take a while.
        if settings.insights is not None:
            return _insights(settings.insights, settings, instance, vault)
        return _collector(settings, instance)

    return Exporter(
        make,
        settings.interval,
        tracer,
        seconds=settings.seconds,
        with_metrics=settings.exports_metrics,
        delta=settings.is_delta,
    )


def _collector(settings: TelemetrySettings, instance: str) -> "Receiver":
    from shared.telemetry.otlp_receiver import Collector  # noqa: PLC0415 - not before the first score

    resource = {"service.name": settings.service_name, "service.instance.id": instance, **dict(settings.resource)}
    return Collector(
        _target(settings.otlp_metrics) if settings.exports_metrics else None,
        _target(settings.otlp_traces) if settings.exports_traces else None,
        resource,
        delta=settings.is_delta,
    )


def _target(settings: OtlpSettings) -> "Target":
    from shared.telemetry.target import Target  # noqa: PLC0415 - as above

    return Target(
        settings.endpoint,
        dict(settings.headers),
        seconds=settings.timeout_seconds,
        compressed=settings.compression is Compression.GZIP,
        ca_file=settings.ca_file,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        grpc=settings.protocol is OtlpProtocol.GRPC,
    )


def _insights(
    insights: "InsightsSettings", settings: TelemetrySettings, instance: str, vault: VaultSettings
) -> "Receiver":
    from shared.telemetry.insights import Sender  # noqa: PLC0415 - as above
    from shared.telemetry.insights_receiver import ApplicationInsights  # noqa: PLC0415 - as above

    connection = insights.connection
    sender = Sender(connection.key, settings.service_name, instance)
    return ApplicationInsights(connection.endpoint, settings.seconds, sender, _token(insights, vault))


def _token(insights: "InsightsSettings", vault: VaultSettings) -> "Callable[[], str] | None":
    """Returns tokens for the resource; None where it needs none."""
    if insights.authentication is None:
        return None
    from shared.control_plane.identity import Identity  # noqa: PLC0415 - as above
    from shared.credentials.key_vault import credential  # noqa: PLC0415 - as above

    identity = Identity(credential(replace(vault, client_id=insights.authentication.client_id or vault.client_id)))
    # The audience ends with a slash, as it is registered, so there are two.
    scope = f"{insights.connection.audience}/.default"
    return lambda: identity.get_token(scope).token


def readings(
    services: "Mapping[str, Upstream]", splits: "Mapping[str, Split]", memory: "Memory", rotations: "Rotations | None"
) -> "Iterator[Reading]":
    """The gauges' values at the moment; only reads, since the event loop's thread goes on meanwhile."""
    for name, service in services.items():
        yield from _of_service(name, service)
    for name, split in splits.items():
        yield from ((metrics.TRAFFIC_SHARE, (name, member), share) for member, share in split.shares().items())
    yield from ((metrics.MEMORY_USE, (kind,), used) for kind, used in memory.used.items())
    yield metrics.MEMORY_LIMIT, (), memory.total
    if rotations is not None:
        yield from _of_rotations(rotations)


def _of_service(name: str, service: "Upstream") -> "Iterator[Reading]":
    admission, client = service.admission, service.client
    yield metrics.ADMISSION_LIMIT, (name,), admission.limit
    yield metrics.ADMISSION_IMAGES, (name,), admission.in_progress
    yield metrics.ADMISSION_PACE, (name,), admission.pace
    yield metrics.RETRY_BUDGET, (name,), client.retries_left
    if client.credentials is None or (age := client.credentials.age) is None:
        return
    yield metrics.CREDENTIALS_AGE, (name,), age
    yield metrics.CREDENTIALS_REFRESH, (name,), client.credentials.refresh_seconds
    if (pins := client.credentials.pins) is None:
        return
    if pins.not_after is not None:
        yield metrics.CERTIFICATE_REMAINING, (name, "pinned"), pins.not_after.timestamp() - time.time()
    if pins.presents is not None:
        yield metrics.CERTIFICATE_REMAINING, (name, "client"), pins.presents.not_after.timestamp() - time.time()


def _of_rotations(rotations: "Rotations") -> "Iterator[Reading]":
    now = time.time()
    for name, progress in list(rotations.progress.items()):
        if now - progress.at > OBSERVED_SECONDS:
            continue
        if progress.since is not None:
            yield metrics.ROTATION_PHASE_AGE, (name, progress.phase), now - progress.since
        if progress.expires is not None:
            yield metrics.CERTIFICATE_REMAINING, (name, "served"), progress.expires - now
