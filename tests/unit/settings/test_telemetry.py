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

    assert (telemetry.is_on, telemetry.metrics_url, telemetry.traces_url) == (False, "", "")


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

    assert (telemetry.metrics_url, telemetry.traces_url) == ("http://collector:4318/v1/metrics", "https://traces/x")
    assert (telemetry.timeout_seconds, telemetry.ratio) == (2.5, 0.01)
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
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "is 'grpc'; it is one of http/protobuf"),
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


def test_no_secret_is_in_the_repr() -> None:
    telemetry = loaded(
        OTEL_EXPORTER_OTLP_ENDPOINT="https://user:canary-1@collector",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=canary-2",
        METRICS_KEY="canary-3-canary-3",
    ).telemetry

    assert "canary" not in repr(telemetry)
