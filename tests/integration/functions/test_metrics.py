"""The app's metrics, exported to a collector and scraped by Prometheus' own parser."""

import asyncio
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions import metrics, rotation
from shared import gateway
from shared.telemetry import metrics as catalogue
from shared.telemetry import request_log
from shared.telemetry.prometheus import name_of
from tests.support.app import PICTURE, App, Response, call_function, score
from tests.support.collector import Collector, attributes, by_name, running_collector
from tests.support.documented_errors import matches_example
from tests.support.inference_service import KEYS
from tests.support.infra import monitoring
from tests.support.infra.promtool import PromtoolUnavailable, ensure_promtool
from tests.support.protocol_client import ProtocolClient

KEY = "a-key-of-twenty-chars"
METHOD = "tensorflow.serving.PredictionService/Predict"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the workers' figures are shared: no other process's are in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")  # the tests say when
        yield running


async def scrape(authorization: str = f"Bearer {KEY}") -> Response:
    request = func.HttpRequest(
        "GET", "http://localhost/api/metrics", headers={"Authorization": authorization}, body=b""
    )
    return await call_function(metrics.metrics, request)


def samples(response: Response) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.body.decode())
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    """The sum of a name's samples that have these labels."""
    wanted = {key.replace("__", "_"): text for key, text in labels.items()}
    return sum(number for (one, has), number in found.items() if one == name and wanted.items() <= dict(has).items())


async def test_prometheus_gets_what_was_counted(endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_KEY", KEY)
    before = samples(await scrape())
    assert (await score(PICTURE, "image/jpeg")).status == 200
    assert (await score(b"not an image", "image/jpeg")).problem == "unsupported-image"
    assert (await endpoints.post("/v1/models/dogs:predict", b"{}")).status == 404
    after = samples(await scrape())

    def counted(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    ok = {"scoring_service": "cats", "scoring_endpoint": "score"}
    assert counted("scoring_request_duration_seconds_count", **ok, scoring_outcome="ok") == 1
    assert counted("scoring_request_duration_seconds_count", **ok, scoring_outcome="rejected") == 1
    assert counted("scoring_request_duration_seconds_count", scoring_endpoint="tensorflow-serving") == 1
    assert counted("scoring_requests_within_target_total", **ok) == 1
    assert counted("scoring_request_errors_total", **ok, error_type="unsupported-image") == 1
    assert counted("scoring_request_errors_total", error_type="unknown-service") == 1
    assert counted("scoring_part_duration_seconds_count", scoring_service="cats", scoring_part="predict") == 1
    assert counted("scoring_images_total", scoring_service="cats", scoring_image_handling="forwarded") == 1
    assert counted("rpc_client_call_duration_seconds_count", rpc_method=METHOD, rpc_response_status_code="OK") == 1
    assert value(after, "scoring_admission_limit", scoring_service="cats") == 64
    assert value(after, "scoring_memory_limit_bytes") > 0


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer another-key-of-chars", f"Basic {KEY}", "Bearer ü\ud800"])
@pytest.mark.usefixtures("endpoints")
async def test_a_scrape_needs_the_key(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    assert matches_example("metrics-off", (await scrape()).json)
    await gateway.forget()
    monkeypatch.setenv("METRICS_KEY", KEY)

    response = await scrape(given)

    assert matches_example("metrics-key-refused", response.json)
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_collector_gets_what_was_counted(
    app: App, start: Any, issued: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over two exports, cumulative: with names, units, attributes, and the resource; compressed, with a header."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=se%20cret")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    app.serve(await start(issued), issued)

    assert (await app.score()).status == 200
    await gateway.gateway().flush()
    assert (await app.score()).status == 200
    await gateway.gateway().flush()

    first, second = by_name(collector.metrics[0]), by_name(collector.metrics[1])
    name = "scoring.request.duration"
    wanted = {"scoring.service": "cats", "scoring.endpoint": "score", "scoring.outcome": "ok"}
    [one] = [point for point in first[name].histogram.data_points if attributes(point) == wanted]
    [other] = [point for point in second[name].histogram.data_points if attributes(point) == wanted]
    assert first[name].unit == "s"
    assert first[name].histogram.aggregation_temporality == 2  # cumulative
    assert (other.count - one.count, sum(other.bucket_counts)) == (1, other.count)
    assert (len(other.bucket_counts), other.start_time_unix_nano) == (
        len(other.explicit_bounds) + 1,
        one.start_time_unix_nano,
    )
    reads = {
        tuple(attributes(one).items()): one.as_double for one in second["scoring.credentials.reads"].sum.data_points
    }
    assert reads[("scoring.service", "cats"),] >= 1
    assert second["scoring.credentials.reads"].sum.is_monotonic
    remaining = {
        attributes(one)["scoring.certificate.kind"]: one
        for one in second["scoring.certificate.remaining"].gauge.data_points
    }
    assert remaining["pinned"].as_double > 0
    resource = attributes(collector.metrics[0].resource_metrics[0].resource)
    assert resource["service.name"] == "scoring-gateway"
    assert resource["service.instance.id"]
    assert resource["deployment.environment.name"] == "test"
    assert collector.headers[0]["api-key"] == "se cret"
    assert collector.headers[0]["content-type"] == "application/x-protobuf"


@pytest.mark.usefixtures("endpoints")
async def test_deltas_have_what_the_collector_does_not(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused export is part of the next one; an accepted one is not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")

    async def exported(status: int = 200) -> float:
        collector.status = status
        assert (await score(PICTURE, "image/jpeg")).status == 200
        await gateway.gateway().flush()
        metric = collector.latest().get("scoring.images")
        return 0 if metric is None else sum(point.as_double for point in metric.sum.data_points)

    await exported()
    assert await exported() == 1
    await exported(503)
    assert await exported() == 2
    assert collector.latest()["scoring.images"].sum.aggregation_temporality == 1
    starts = [by_name(one)["scoring.images"].sum.data_points[0] for one in collector.metrics[1:]]
    assert starts[0].time_unix_nano == starts[1].start_time_unix_nano


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "away"])
@pytest.mark.usefixtures("endpoints")
async def test_a_collector_in_trouble_costs_no_request(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Exports fail, in one thread and with one line in the log; requests do not notice."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
    monkeypatch.setenv("METRICS_KEY", KEY)
    if trouble == "hangs":
        collector.answering.clear()
    elif trouble == "refuses":
        collector.status = 500
    else:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    lost = "lost" if trouble == "hangs" else "refused"

    def failed(found: dict[Any, float]) -> float:
        return value(found, "scoring_telemetry_exports_total", scoring_outcome=lost)

    before = failed(samples(await scrape()))
    async with asyncio.timeout(20):
        while failed(samples(await scrape())) < before + 2:
            assert (await score(PICTURE, "image/jpeg")).status == 200

    assert [thread.name for thread in threading.enumerate()].count("telemetry") == 1
    started = time.monotonic()
    await gateway.gateway().flush()
    assert time.monotonic() - started < 6


@pytest.mark.usefixtures("endpoints")
async def test_a_timers_run_exports_before_it_ends(collector: Collector) -> None:
    timer = rotation.rotate.build().get_user_function()

    await timer(None)

    assert "scoring.admission.limit" in collector.latest()


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_sampled_request_is_one_trace_from_its_caller_to_the_service(
    endpoints: ProtocolClient, collector: Collector
) -> None:
    """Its spans are made of what the caller sent, and the service gets the same trace with its call as the parent."""
    sampled, other = f"00-{TRACE}-{PARENT}-01", f"00-{'ab' * 16}-{PARENT}-00"
    for header in (other, "", "nonsense", sampled):
        assert (await score(PICTURE, "image/jpeg", headers={"traceparent": header})).status == 200
    assert (await endpoints.post("/v2/models/cats/infer", b"{", traceparent=sampled)).status == 400
    await gateway.gateway().flush()

    root, *children, failed = collector.spans()
    assert {span.trace_id.hex() for span in (root, *children, failed)} == {TRACE}
    assert (root.name, root.parent_span_id.hex(), failed.name) == ("score", PARENT, "open-inference")
    assert attributes(root) == {"scoring.service": "cats", "http.response.status_code": 200}
    assert attributes(failed)["error.type"] == "invalid-tensor"
    assert {span.parent_span_id for span in children} == {root.span_id}
    assert {span.name for span in children} >= {"decode"}
    [call] = [span for span in children if span.kind == span.SPAN_KIND_CLIENT]
    assert call.name == METHOD
    assert attributes(call) == {
        "rpc.system.name": "grpc",
        "rpc.method": call.name,
        "rpc.response.status_code": "OK",
        "server.address": "127.0.0.1",
        "server.port": endpoints.service.port,
    }
    assert root.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano <= root.end_time_unix_nano
    seen = endpoints.service.recorder.calls[-1].metadata["traceparent"]
    assert seen == f"00-{TRACE}-{call.span_id.hex()}-01"
    assert len({span.span_id for span in collector.spans()}) == len(collector.spans())


@pytest.mark.usefixtures("endpoints")
async def test_spans_are_exported_without_a_word(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the thread itself, soon; a ratio of one traces what came without a header."""
    monkeypatch.setattr("shared.telemetry.export.SPANS_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")

    assert (await score(PICTURE, "image/jpeg")).status == 200

    await asyncio.to_thread(collector.wait_for_spans, 3)
    assert collector.metrics == []  # they are due in an hour


async def test_what_happens_behind_a_request_is_counted(
    app: App, start: Any, issued: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused key, a vault that is away, an inference service that is away; with a line of the log for the latter."""
    monkeypatch.setattr(request_log._lines, "_kinds", {})  # other tests had lines of these kinds

    def counted(name: str, *attributes: str) -> float:
        point = catalogue.BY_NAME[name].points.get(attributes, 0)  # type: ignore[union-attr]
        return sum(point[1:]) if isinstance(point, list) else point

    names = {
        "retried": ("scoring.retries", "cats", "key"),
        "refused": ("rpc.client.call.duration", "grpc", METHOD, "UNAUTHENTICATED", "UNAUTHENTICATED", "cats"),
        "read": ("scoring.credentials.reads", "cats", ""),
        "unread": ("scoring.credentials.reads", "cats", "secret-missing"),
        "failed": ("scoring.request.errors", "cats", "score", "service-unreachable"),
    }
    before = {key: counted(*name) for key, name in names.items()}
    app.vault.set("cats-primary-key", "a key that is not the service's")
    service = await start(issued)
    app.serve(service, issued)

    assert (await app.score()).status == 200
    await service.stop()
    assert (await app.score()).problem == "service-unreachable"
    await gateway.forget()
    app.configure(SERVICE__CATS__PRIMARY_KEY_SECRET="no-such-secret")
    assert (await app.score()).problem == "secret-missing"

    after = {key: counted(*name) - before[key] for key, name in names.items()}
    assert after.pop("read") >= 1  # more while the service was away
    assert after == {"retried": 1, "refused": 1, "unread": 1, "failed": 1}
    lines = [json.loads(line) for line in caplog.messages if line.startswith("{")]
    assert [(line["problem"], line["service"]) for line in lines] == [
        ("service-unreachable", "cats"),
        ("secret-missing", "cats"),
    ]
    assert lines[0]["milliseconds"]["wait"] > 0
    assert KEYS.primary not in caplog.text


# Counted only where rotations, splits or exports are.
ELSEWHERE = {
    *("scoring_rotation_events_total", "scoring_rotation_phase_age_seconds", "scoring_channel_replacements_total"),
    *("scoring_traffic_share_ratio", "scoring_telemetry_exports_total", "scoring_telemetry_dropped_spans_total"),
}


async def test_a_scrape_is_clean_and_has_what_alerts_and_dashboards_ask_for(
    app: App, start: Any, issued: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By promtool; with the labels that they use."""
    monkeypatch.setenv("METRICS_KEY", KEY)
    app.vault.set("cats-primary-key", "a key that is not the service's")
    app.configure(SERVICE__CATS__MAX_CONCURRENCY="1")
    service = await start(issued)
    app.serve(service, issued)
    assert (await app.score()).status == 200
    assert {one.status for one in await asyncio.gather(*(app.score() for _ in range(8)))} == {200, 503}
    response = await scrape()

    expressions = [*monitoring.dashboard(), *(rule["expr"] for rule in monitoring.rules("alert"))]
    asked = [one for expression in expressions for one in monitoring.asked_by_promql(expression)]
    labels: dict[str, set[str]] = {}
    for name, has in samples(response):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        labels.setdefault(base, set()).update(label for label, _ in has)
    names = {one.metric: name_of(catalogue.BY_NAME[one.metric]) for one in asked}
    assert set(names.values()) - labels.keys() <= ELSEWHERE
    for one in asked:
        if names[one.metric] in labels:
            wanted = {label.replace(".", "_") for label in one.attributes - {"error.type"}}
            assert wanted <= labels[names[one.metric]], one

    try:
        promtool = await asyncio.to_thread(ensure_promtool)
    except PromtoolUnavailable as error:
        if os.environ.get("REQUIRE_PROMTOOL"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    command = [str(promtool), "check", "metrics"]
    checked = await asyncio.to_thread(
        lambda: subprocess.run(command, input=response.body, capture_output=True, check=False)
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
