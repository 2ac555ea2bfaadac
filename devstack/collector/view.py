"""Spans as a waterfall, metrics as a table, in plain text."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protos import otlp_metrics_pb2 as metrics
from protos import otlp_trace_pb2 as traces

BAR = "\N{FULL BLOCK}"

_WIDTH = 40
_MS = 1e6  # nanoseconds


def waterfall(spans: Sequence[traces.Span]) -> str:
    """A trace's spans below each other, each with a bar for when it was in progress."""
    first = min(span.start_time_unix_nano for span in spans)
    whole = max(max(span.end_time_unix_nano for span in spans) - first, 1)
    rows = list(_nested(spans))
    names = ["  " * depth + _label(span) for depth, span in rows]
    width = max(map(len, names))
    lines = [f"trace {spans[0].trace_id.hex()}"]
    for name, (_, span) in zip(names, rows, strict=True):
        start = round((span.start_time_unix_nano - first) / whole * (_WIDTH - 1))
        end = round((span.end_time_unix_nano - first) / whole * _WIDTH)
        bar = BAR * max(end - start, 1)
        took = (span.end_time_unix_nano - span.start_time_unix_nano) / _MS
        lines.append(f"  {name:<{width}}  {took:9.2f} ms  |{' ' * start}{bar:<{_WIDTH - start}}|")
    return "\n".join(lines) + "\n"


def _nested(spans: Sequence[traces.Span]) -> Iterator[tuple[int, traces.Span]]:
    """The spans with their depth, each below its parent, by their start."""
    ids = {span.span_id for span in spans}
    children: defaultdict[bytes, list[traces.Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        children[span.parent_span_id if span.parent_span_id in ids else b""].append(span)
    waiting = [(0, span) for span in reversed(children[b""])]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        waiting += [(depth + 1, child) for child in reversed(children.pop(span.span_id, []))]


def _label(span: traces.Span) -> str:
    told = {one.key: one.value for one in span.attributes}
    status = told.get("http.response.status_code"), told.get("rpc.response.status_code")
    shown = [str(one.int_value or one.string_value) for one in status if one is not None]
    return " ".join([span.name, *shown])


@dataclass
class _Row:
    """A metric's point, added up over the workers: a histogram's sum has a count."""

    unit: str
    value: float = 0.0
    count: int = 0


def table(exports: Iterable[metrics.ExportMetricsRequest]) -> str:
    """The metrics of all workers: counts added up, of gauges the latest one's."""
    rows: dict[tuple[str, str], _Row] = {}
    for export in exports:
        for metric in _metrics(export):
            for point in metric.histogram.data_points:
                row = _row(rows, metric, point)
                row.value, row.count = row.value + point.sum, row.count + point.count
            for number in metric.sum.data_points:
                row = _row(rows, metric, number)
                row.value += number.as_double
            for number in metric.gauge.data_points:
                _row(rows, metric, number).value = number.as_double
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {_shown(row):>22}  {name:<{width}}  {about}".rstrip() for (name, about), row in rows.items()]
    return "\n".join(["metrics", *lines]) + "\n"


def _metrics(export: metrics.ExportMetricsRequest) -> Iterator[metrics.Metric]:
    for resource in export.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics


def _row(
    rows: dict[tuple[str, str], _Row],
    metric: metrics.Metric,
    point: metrics.NumberDataPoint | metrics.HistogramDataPoint,
) -> _Row:
    attributes = ", ".join(one.value.string_value for one in point.attributes)
    return rows.setdefault((metric.name, attributes), _Row(metric.unit))


def _shown(row: _Row) -> str:
    if row.count:
        return f"{row.count}, {row.value / row.count * 1000:.2f} ms each"
    unit = "" if row.unit == "1" else row.unit.strip("{}")
    return f"{row.value:.15g} {unit}".rstrip() if row.value == int(row.value) else f"{row.value:.2f} {unit}".rstrip()
