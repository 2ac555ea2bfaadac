"""Snapshots as messages of OpenTelemetry's protocol (OTLP); imported by the exporting thread alone."""

from collections.abc import Iterable, Mapping

from protos import otlp_metrics_pb2 as pb
from shared.telemetry import metrics
from shared.telemetry.instruments import Attributes, Counter, Histogram, Instrument, Points
from shared.telemetry.snapshot import Snapshot

_SCOPE = "scoring-gateway"


def metrics_request(snapshot: Snapshot, resource: Mapping[str, str], *, delta: bool) -> bytes:
    """An export of a snapshot; ``delta``: it has what was counted since the one before."""
    temporality = pb.AGGREGATION_TEMPORALITY_DELTA if delta else pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    found = [_metric(one, points, snapshot, temporality) for one in metrics.INSTRUMENTS if (points := snapshot.of(one))]
    by_scope = pb.ScopeMetrics(scope=scope(), metrics=found)
    request = pb.ExportMetricsRequest(
        resource_metrics=[pb.ResourceMetrics(resource=resource_of(resource), scope_metrics=[by_scope])]
    )
    return request.SerializeToString()


def scope() -> pb.Scope:
    """What has measured it."""
    return pb.Scope(name=_SCOPE)


def resource_of(attributes: Mapping[str, str]) -> pb.Resource:
    """What is exported, as a whole: the gateway's name, the instance."""
    return pb.Resource(attributes=key_values(attributes.items()))


def key_values(pairs: Iterable[tuple[str, str | int | float]]) -> list[pb.KeyValue]:
    """Attributes; those with an empty value are absent."""
    return [pb.KeyValue(key=key, value=_any(value)) for key, value in pairs if value != ""]


def _any(value: str | float) -> pb.AnyValue:
    if isinstance(value, str):
        return pb.AnyValue(string_value=value)
    return pb.AnyValue(int_value=value) if isinstance(value, int) else pb.AnyValue(double_value=value)


def _metric(
    instrument: Instrument, points: Points, snapshot: Snapshot, temporality: pb.AggregationTemporality
) -> pb.Metric:
    about = instrument.about
    metric = pb.Metric(name=about.name, description=about.description, unit=about.unit)
    if isinstance(instrument, Histogram):
        distributions = [_distribution(instrument, key, value, snapshot) for key, value in points.items()]
        metric.histogram.CopyFrom(pb.Histogram(data_points=distributions, aggregation_temporality=temporality))
        return metric
    is_counter = isinstance(instrument, Counter)
    numbers = [
        _number(instrument, key, value, snapshot, snapshot.since if is_counter else 0) for key, value in points.items()
    ]
    if is_counter:
        metric.sum.CopyFrom(pb.Sum(data_points=numbers, aggregation_temporality=temporality, is_monotonic=True))
    else:
        metric.gauge.CopyFrom(pb.Gauge(data_points=numbers))
    return metric


def _number(
    instrument: Instrument, key: Attributes, value: object, snapshot: Snapshot, since: int
) -> pb.NumberDataPoint:
    assert isinstance(value, float | int)  # noqa: S101 - for the type checker: lists are of histograms
    return pb.NumberDataPoint(
        attributes=key_values(zip(instrument.about.attributes, key, strict=True)),
        start_time_unix_nano=since,
        time_unix_nano=snapshot.at,
        as_double=value,
    )


def _distribution(instrument: Histogram, key: Attributes, value: object, snapshot: Snapshot) -> pb.HistogramDataPoint:
    assert isinstance(value, list)  # noqa: S101 - for the type checker, as above
    buckets = [int(count) for count in value[1:]]
    return pb.HistogramDataPoint(
        attributes=key_values(zip(instrument.about.attributes, key, strict=True)),
        start_time_unix_nano=snapshot.since,
        time_unix_nano=snapshot.at,
        count=sum(buckets),
        sum=value[0],
        bucket_counts=buckets,
        explicit_bounds=instrument.bounds,
    )
