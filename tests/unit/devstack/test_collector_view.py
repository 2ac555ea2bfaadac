"""How the local collector shows traces and metrics."""

from devstack.collector.view import table, waterfall
from protos import otlp_metrics_pb2 as metrics
from protos import otlp_trace_pb2 as traces
from shared.telemetry import otlp
from shared.telemetry.snapshot import Snapshot

MS = 1_000_000


def span(number: int, parent: int, name: str, start: int, end: int, **attributes: str | int) -> traces.Span:
    return traces.Span(
        trace_id=bytes(15) + b"\x01",
        span_id=bytes([number]) * 8,
        parent_span_id=bytes([parent]) * 8,
        name=name,
        start_time_unix_nano=start * MS,
        end_time_unix_nano=end * MS,
        attributes=otlp.key_values((key.replace("__", "."), value) for key, value in attributes.items()),
    )


def test_spans_are_below_their_parents_by_their_start() -> None:
    spans = [
        span(3, 1, "a.B/C", 20, 40, rpc__response__status_code="OK"),
        span(2, 1, "decode", 0, 10),
        span(1, 9, "score", 0, 40, http__response__status_code=200),
    ]

    assert waterfall(spans) == "\n".join(
        [
            f"trace {'0' * 31}1",
            f"  score 200       40.00 ms  |{'█' * 40}|",
            f"    decode        10.00 ms  |{'█' * 10}{' ' * 30}|",
            f"    a.B/C OK      20.00 ms  |{' ' * 20}{'█' * 20}|",
            "",
        ]
    )


def test_spans_of_no_time_and_rings_of_them_are_shown_or_left_out() -> None:
    assert waterfall([span(1, 0, "score", 5, 5)]).splitlines()[1].endswith(f"|█{' ' * 39}|")
    assert waterfall([span(1, 2, "one", 0, 1), span(2, 1, "other", 0, 1), span(3, 0, "root", 0, 1)]).count("ms") == 1


def exported(images: float, share: float) -> metrics.ExportMetricsRequest:
    snapshot = Snapshot(
        {
            "scoring.images": {("cats", "decoded"): images},
            "scoring.request.duration": {("cats", "score", "ok"): [0.5, 1.0, *[0.0] * 13, 1.0]},
            "scoring.traffic.share": {("cats", "blue"): share},
        },
        at=20,
        since=10,
    )
    return metrics.ExportMetricsRequest.FromString(otlp.metrics_request(snapshot, {}, delta=False))


def test_the_workers_counts_are_added_up() -> None:
    rows = [line.split(maxsplit=5) for line in table([exported(3, 0.25), exported(4, 0.5)]).splitlines()[1:]]

    assert [" ".join(row) for row in rows] == [
        "4, 250.00 ms each scoring.request.duration cats, score, ok",
        "7 image scoring.images cats, decoded",
        "0.50 scoring.traffic.share cats, blue",
    ]
    assert table([]) == "metrics\n"
