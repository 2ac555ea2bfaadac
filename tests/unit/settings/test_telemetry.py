"""The settings of telemetry."""

import pytest

from shared.errors import Misconfigured
from shared.settings import Settings, load

SERVICE = {
    "SERVICES": "cats",
    "SERVICE__CATS__ADDRESS": "localhost",
    "SERVICE__CATS__TLS": "insecure-no-key-is-sent",
}
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


def loaded(**settings: str) -> Settings:
    return load({**SERVICE, **settings})


def test_all_is_off_by_default() -> None:
    telemetry = loaded().telemetry

    assert (telemetry.is_on, telemetry.exports_metrics, telemetry.exports_traces) == (False, False, False)
    assert not telemetry.log_invocations


def test_the_standard_variables_hold() -> None:
    telemetry = loaded(
        **COLLECTOR,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://traces/x",
        OTEL_EXPORTER_OTLP_TIMEOUT="2500",
        OTEL_RESOURCE_ATTRIBUTES="a=b, c=d%20e",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.01",
        OTEL_LOGS_EXPORTER="otlp",  # the host's
    ).telemetry

    metrics, traces = telemetry.otlp_metrics, telemetry.otlp_traces
    assert (metrics.endpoint, traces.endpoint) == ("http://collector:4318/v1/metrics", "https://traces/x")
    assert (metrics.timeout_seconds, telemetry.seconds, telemetry.ratio) == (2.5, 2.5, 0.01)
    assert telemetry.resource == (("a", "b"), ("c", "d e"))


@pytest.mark.parametrize(
    "settings", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}]
)
def test_exports_are_turned_off(settings: dict[str, str]) -> None:
    assert not loaded(**COLLECTOR, **settings).telemetry.is_on


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "se-cret:4317", "is not an http or https address"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "se-cret", "is not name=value, several with commas between them"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=se-cret", "the collector's address is not https: keys could be read"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "api-key=se-cret", "the collector's address is not https"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "is 'http/json'; it is one of http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "host.json", "without CLIENT_CERTIFICATE; mutual TLS needs both"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "it is one of parentbased_always_off, "),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "is '2'; a number from 0 to 1 is needed"),
        ("METRICS_KEY", "se-cret", "is shorter than 16 characters"),
        ("METRICS_KEY", "se-cret with a space in it", "or has others than printable ASCII"),
    ],
)
def test_a_wrong_one_is_named_and_no_secret_repeated(name: str, value: str, text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        loaded(**{**COLLECTOR, name: value})

    assert caught.value.detail.startswith(f"{name} ")
    assert text in caught.value.detail
    assert "se-cret" not in caught.value.detail


def test_a_signals_own_settings_precede_the_general_ones() -> None:
    telemetry = loaded(
        OTEL_EXPORTER_OTLP_ENDPOINT="https://collector:4317",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_HEADERS="a=1",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="b=2",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="20000",
    ).telemetry

    metrics, traces = telemetry.otlp_metrics, telemetry.otlp_traces
    assert (metrics.endpoint, traces.endpoint) == ("https://collector:4317", "https://collector:4317/v1/traces")
    assert (metrics.headers, traces.headers) == ((("a", "1"),), (("b", "2"),))
    assert (metrics.protocol, traces.protocol) == ("grpc", "http/protobuf")
    assert (metrics.compression, traces.compression) == ("gzip", "gzip")
    assert (metrics.timeout_seconds, traces.timeout_seconds, telemetry.seconds) == (10, 20, 20)


def test_a_path_is_an_error_for_grpc_and_named_once() -> None:
    with pytest.raises(Misconfigured) as caught:
        loaded(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector/v1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")

    assert caught.value.detail.count("OTEL_EXPORTER_OTLP_ENDPOINT has a path, which gRPC does not use") == 1


CONNECTION = "InstrumentationKey=0fdcec70-0ce5-4085-89d9-9ae8ead9af66;"
INSIGHTS = {"TELEMETRY": "application-insights", "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION}


def test_application_insights_is_on_by_the_setting_alone() -> None:
    """The platform sets the connection string of every function app, faulty or not."""
    assert not loaded(APPLICATIONINSIGHTS_CONNECTION_STRING="nonsense").telemetry.is_on

    telemetry = loaded(**INSIGHTS, **COLLECTOR, OTEL_TRACES_EXPORTER="none").telemetry

    assert telemetry.insights is not None
    assert telemetry.insights.authentication is None
    assert (telemetry.exports_metrics, telemetry.exports_traces, telemetry.is_delta) == (True, False, True)
    assert telemetry.otlp_metrics.endpoint == ""  # to one of them


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("", "https://dc.services.visualstudio.com"),
        ("IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/", None),
        ("EndpointSuffix=applicationinsights.azure.cn;Location=x", "https://x.dc.applicationinsights.azure.cn"),
        ("ingestionendpoint=http://127.0.0.1:80;LiveEndpoint=https://live", "http://127.0.0.1:80"),
    ],
)
def test_a_connection_string_names_the_endpoint(text: str, endpoint: str | None) -> None:
    telemetry = loaded(
        **{**INSIGHTS, "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION + text},
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING="ClientId=6ecc;Authorization=AAD",
    ).telemetry

    assert telemetry.insights is not None
    found = telemetry.insights.connection
    assert found.endpoint == (endpoint or "https://westeurope-5.in.applicationinsights.azure.com")
    assert (found.key, found.audience) == (CONNECTION[19:-1], "https://monitor.azure.com/")
    assert telemetry.insights.authentication is not None
    assert telemetry.insights.authentication.client_id == "6ecc"
    assert CONNECTION[19:-1] not in repr(telemetry)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("TELEMETRY", "azure", "is 'azure'; it is one of otlp, application-insights"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "", "is missing: the connection string of the Application Insights"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "se-cret", "is not InstrumentationKey=...;IngestionEndpoint="),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=se-cret", "copy it from the resource"),
        (
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            f"{CONNECTION}IngestionEndpoint=http://se-cret",
            "has an IngestionEndpoint that is not an https address",
        ),
        ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "se-cret", "is not Authorization=AAD, or ClientId=...;"),
    ],
)
def test_a_wrong_setting_of_application_insights_is_named(name: str, value: str, text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        loaded(**{**INSIGHTS, name: value})

    assert caught.value.detail.startswith(f"{name} ")
    assert text in caught.value.detail
    assert "se-cret" not in caught.value.detail


def test_no_secret_is_in_the_repr() -> None:
    telemetry = loaded(
        OTEL_EXPORTER_OTLP_ENDPOINT="https://user:canary-1@collector",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=canary-2",
        METRICS_KEY="canary-3-canary-3",
    ).telemetry

    assert "canary" not in repr(telemetry)
