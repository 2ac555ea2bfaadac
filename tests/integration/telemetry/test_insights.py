"""Exports to Application Insights, whose endpoint accepts all, some or nothing of them."""

import time
from collections.abc import Iterator

import jwt
import pytest

from shared import reporting
from shared.settings import load
from shared.settings.telemetry import TelemetrySettings
from shared.telemetry import RequestContext, metrics
from shared.telemetry.tracer import Tracer
from tests.support.insights import KEY, Ingestion, running_ingestion
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault

CLIENT = "b2c0a1de-0000-4000-8000-000000000001"


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    with running_ingestion() as running:
        yield running


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        yield running


def settings(ingestion: Ingestion, **more: str) -> TelemetrySettings:
    service = {"ADDRESS": "localhost", "TLS": "insecure-no-key-is-sent"}
    return load(
        {
            "SERVICES": "cats",
            **{f"SERVICE__CATS__{name}": value for name, value in service.items()},
            "TELEMETRY": "application-insights",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": ingestion.connection_string,
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",  # the tests say when
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_SERVICE_NAME": "gate",
            **more,
        }
    ).telemetry


@pytest.fixture
def made(ingestion: Ingestion) -> Iterator[reporting.Reporting]:
    made = reporting.Reporting(settings(ingestion), lambda: iter([(metrics.ADMISSION_LIMIT, ("cats",), 64.0)]))
    yield made
    made.close()


def counted(ingestion: Ingestion) -> list[float]:
    return [value for about, value, _ in ingestion.metrics("scoring.retries") if about["scoring.service"] == "insights"]


def count() -> None:
    metrics.RETRIES.add(("insights", "key"))


def finish(tracer: Tracer | None) -> None:
    assert tracer is not None
    tracer.finish(tracer.traced(RequestContext("id", time.monotonic() + 1), ""), "score", 200, {})


def test_each_export_has_what_was_counted_since_the_one_before(
    ingestion: Ingestion, made: reporting.Reporting, caplog: pytest.LogCaptureFixture
) -> None:
    """Over several exports; one that was refused is part of the next, and what is wrong for good is dropped."""
    for status in (200, 200, 503, 200, 400, 200):
        ingestion.status = status
        count()
        made.flush(5)

    assert counted(ingestion) == [1, 1, 2, 1]
    gauges = ingestion.metrics("scoring.admission.limit")
    assert gauges == [({"scoring.service": "cats"}, 64, 1)] * 4
    assert {item["tags"]["ai.cloud.role"] for item in ingestion.items} == {"gate"}
    assert ingestion.headers[0]["content-encoding"] == "gzip"
    assert ingestion.headers[0]["content-type"] == "application/x-json-stream"
    assert "Application Insights did not accept the metrics: status 503" in caplog.messages
    assert KEY not in caplog.text


def test_of_an_export_accepted_in_part_the_rest_is_sent_again_where_that_helps(
    ingestion: Ingestion, made: reporting.Reporting
) -> None:
    before = metrics.EXPORTS.points.get(("traces", "partial"), 0)
    for _ in range(3):
        finish(made.tracer)
    ingestion.status, ingestion.faults = 206, {0: 500, 2: 400, 99: 500}
    made.flush(5)
    accepted = len(ingestion.data("RemoteDependencyData"))
    ingestion.status, ingestion.faults = 200, {}
    made.flush(5)

    spans = ingestion.data("RemoteDependencyData")
    assert (accepted, len(spans), len({span["id"] for span in spans})) == (1, 2, 2)
    assert metrics.EXPORTS.points[("traces", "partial")] - before == 1


def test_a_throttled_gateway_pauses_as_long_as_it_is_asked_to(
    ingestion: Ingestion, made: reporting.Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingestion.status, ingestion.answer_headers = 429, {"Retry-After": "30"}
    finish(made.tracer)
    made.flush(5)
    sent, now = len(ingestion.headers), time.monotonic()
    ingestion.status, ingestion.answer_headers = 200, {}
    made.flush(5)
    assert len(ingestion.headers) == sent
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    made.flush(5)

    assert len(ingestion.data("RemoteDependencyData")) == 1


def test_a_resource_without_local_authentication_gets_a_token(
    ingestion: Ingestion, vault: LocalVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the identity that the authentication string names, for Azure Monitor; without one, nothing is sent."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", vault.identity)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    string = f"ClientId={CLIENT};Authorization=AAD"

    def export() -> None:
        made = reporting.Reporting(
            settings(ingestion, APPLICATIONINSIGHTS_AUTHENTICATION_STRING=string), lambda: iter([])
        )
        count()
        made.flush(5)
        made.close()

    export()
    assert ingestion.headers == []
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    export()

    token = ingestion.headers[0]["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"].rstrip("/") == "https://monitor.azure.com"
    assert claims["appid"] == CLIENT


def test_a_redirect_is_not_followed(ingestion: Ingestion, made: reporting.Reporting) -> None:
    """It would take the token with it."""
    ingestion.status, ingestion.answer_headers = 308, {"Location": f"{ingestion.url}/v2.1/track"}
    made.flush(5)

    assert len(ingestion.headers) == 1
