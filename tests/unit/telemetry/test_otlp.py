"""The messages of OpenTelemetry's protocol, read by its published definitions."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from protos import otlp_metrics_pb2, otlp_trace_pb2
from shared.telemetry import otlp
from shared.telemetry.snapshot import Snapshot

_PUBLISHED = (metrics_service_pb2, trace_service_pb2, common_pb2, metrics_pb2, resource_pb2, trace_pb2)
# Ours, whose names say more or less than the published ones.
_NAMES = {
    "ExportMetricsRequest": "ExportMetricsServiceRequest",
    "ExportTraceRequest": "ExportTraceServiceRequest",
    "Scope": "InstrumentationScope",
}


def messages() -> Iterator[Descriptor]:
    for module in (otlp_metrics_pb2, otlp_trace_pb2):
        yield from module.DESCRIPTOR.message_types_by_name.values()


def published(name: str) -> Descriptor:
    name = _NAMES.get(name, name)
    files = (one.DESCRIPTOR.message_types_by_name for one in _PUBLISHED)
    found: list[Descriptor] = [file[name] for file in files if name in file]
    assert len(found) == 1
    return found[0]


def fields(message: Descriptor) -> dict[str, tuple[object, ...]]:
    """What the wire needs to know of each field of a message."""
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return {
        one.name: (one.number, one.type, one.label, one.proto3_optional, one.HasField("oneof_index"))
        for one in proto.field
    }


@pytest.mark.parametrize("ours", list(messages()), ids=lambda one: one.name)
def test_the_messages_are_compatible_with_the_published_ones(ours: Descriptor) -> None:
    theirs = published(ours.name)
    assert fields(ours).items() <= fields(theirs).items()
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        if field.message_type is not None and other.message_type is not None:
            assert _NAMES.get(field.message_type.name, field.message_type.name) == other.message_type.name
        if field.enum_type is not None and other.enum_type is not None:
            for number, value in field.enum_type.values_by_number.items():
                name = value.name.removeprefix("KIND_").removeprefix("CODE_")
                assert other.enum_type.values_by_number[number].name.endswith(name)


@pytest.mark.parametrize(("delta", "temporality"), [(False, 2), (True, 1)])
def test_an_export_says_what_the_snapshot_has(delta: bool, temporality: int) -> None:
    snapshot = Snapshot(
        {
            "scoring.images": {("cats", "decoded"): 3.0, ("dogs", ""): 1.0},
            "scoring.request.duration": {("cats", "score", "ok"): [0.5, 1.0, *[0.0] * 13, 2.0]},
            "scoring.memory.limit": {(): 100.0},
        },
        at=20,
        since=10,
    )

    read = metrics_service_pb2.ExportMetricsServiceRequest.FromString(
        otlp.metrics_request(snapshot, {"service.name": "gate"}, delta=delta)
    )

    [resource] = read.resource_metrics
    assert [(one.key, one.value.string_value) for one in resource.resource.attributes] == [("service.name", "gate")]
    [scope] = resource.scope_metrics
    found = {one.name: one for one in scope.metrics}
    assert found.keys() == snapshot.points.keys()
    counted = found["scoring.images"].sum
    assert (counted.is_monotonic, counted.aggregation_temporality) == (True, temporality)
    assert [
        (
            one.as_double,
            one.start_time_unix_nano,
            one.time_unix_nano,
            [(a.key, a.value.string_value) for a in one.attributes],
        )
        for one in counted.data_points
    ] == [
        (3, 10, 20, [("scoring.service", "cats"), ("scoring.image.handling", "decoded")]),
        (1, 10, 20, [("scoring.service", "dogs")]),
    ]
    distribution = found["scoring.request.duration"].histogram
    [point] = distribution.data_points
    assert (point.count, point.sum, distribution.aggregation_temporality) == (3, 0.5, temporality)
    assert (list(point.bucket_counts), len(point.explicit_bounds)) == ([1, *[0] * 13, 2], 14)
    assert [one.as_double for one in found["scoring.memory.limit"].gauge.data_points] == [100]
