"""The settings of telemetry: OpenTelemetry's standard variables, and a few of the gateway's own.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and .../configuration/sdk-environment-variables/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from shared.settings.reader import FILE, TEXT, Kind, Reader, choice, seconds, setting

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADER = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]{1,100}")
_SHORTEST_KEY = 16


class OtlpProtocol(StrEnum):
    """How exports are sent; OpenTelemetry's others, over gRPC and as JSON, are not offered."""

    HTTP = "http/protobuf"


class Compression(StrEnum):
    """Of exports."""

    NONE = "none"
    GZIP = "gzip"


class Temporality(StrEnum):
    """What an export of a count has: all since the start, or what came since the last export."""

    CUMULATIVE = "cumulative"
    DELTA = "delta"
    # OpenTelemetry's third: delta for counters and histograms, which are all that the gateway counts with.
    LOW_MEMORY = "lowmemory"


class Signal(StrEnum):
    """Whether a signal is exported."""

    OTLP = "otlp"
    NONE = "none"


class TraceSampler(StrEnum):
    """Which requests are traced, by OpenTelemetry's names; those that begin with ``parentbased`` follow the caller."""

    PARENT_OR_NONE = "parentbased_always_off"
    PARENT_OR_RATIO = "parentbased_traceidratio"
    PARENT_OR_ALL = "parentbased_always_on"
    RATIO = "traceidratio"
    ALL = "always_on"
    NONE = "always_off"


# Whether each one follows the caller, and its share of the other requests; None for the setting's.
SAMPLERS: Mapping[TraceSampler, tuple[bool, float | None]] = {
    TraceSampler.PARENT_OR_NONE: (True, 0.0),
    TraceSampler.PARENT_OR_RATIO: (True, None),
    TraceSampler.PARENT_OR_ALL: (True, 1.0),
    TraceSampler.RATIO: (False, None),
    TraceSampler.ALL: (False, 1.0),
    TraceSampler.NONE: (False, 0.0),
}


class Disabled(StrEnum):
    """Whether all of OpenTelemetry is off."""

    FALSE = "false"
    TRUE = "true"


def _read_url(reader: Reader, key: str, default: str) -> str:
    value = reader.text(key, default).rstrip("/")
    parts = urlsplit(value)
    if value and not (parts.scheme in {"http", "https"} and parts.hostname):
        # The value is not repeated: it may carry a key.
        reader.fault(key, "is not an http or https address")
    return value


def _read_pairs(reader: Reader, key: str, _default: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for part in filter(None, map(str.strip, reader.text(key).split(","))):
        name, separator, value = (one.strip() for one in part.partition("="))
        value = unquote(value)
        if separator and _HEADER.fullmatch(name) and value.isascii() and value.isprintable():
            found.append((name, value))
        else:
            # Neither name nor value: where the "=" is missing, the name is a part of the secret.
            reader.fault(key, "is not name=value, several with commas between them")
            break
    return tuple(found)


def _read_key(reader: Reader, key: str, default: str) -> str:
    value = reader.text(key, default)
    if value and (len(value) < _SHORTEST_KEY or not value.isascii() or not value.isprintable() or " " in value):
        reader.fault(key, f"is shorter than {_SHORTEST_KEY} characters, or has others than printable ASCII")
    return value


def _read_ratio(reader: Reader, key: str, default: float) -> float:
    value = reader.text(key)
    if not value:
        return default
    if re.fullmatch(r"(0(\.[0-9]{1,12})?|1(\.0{1,12})?)", value):
        return float(value)
    reader.fault(key, f"is {value[:40]!r}; a number from 0 to 1 is needed, as in 0.01")
    return default


_RATIO = Kind(_read_ratio, "0 to 1")
_URL = Kind(_read_url)
_PAIRS = Kind(_read_pairs, "`name=value`, with commas")
_KEY = Kind(_read_key, f"{_SHORTEST_KEY} characters or more")


@dataclass(frozen=True)
class TelemetrySettings:
    """Where telemetry goes; all of it is off by default."""

    endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        _URL,
        "",
        "an OpenTelemetry collector, as in `http://collector:4318`: metrics and traces are exported to it",
        in_repr=False,
    )
    metrics_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        _URL,
        "",
        "the whole address for metrics, where it is another",
        shown="the endpoint and `/v1/metrics`",
        in_repr=False,
    )
    headers: tuple[tuple[str, str], ...] = setting(
        "OTEL_EXPORTER_OTLP_HEADERS",
        _PAIRS,
        (),
        "headers of exports, such as a key of the collector: then its address is https, or http on loopback",
        shown="",
        in_repr=False,
    )
    protocol: OtlpProtocol = setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL", choice(OtlpProtocol), OtlpProtocol.HTTP, "how exports are sent"
    )
    timeout_seconds: float = setting(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        seconds(1, 60_000, per_second=1000),
        10.0,
        "milliseconds for one export",
        shown="10000",
    )
    compression: Compression = setting(
        "OTEL_EXPORTER_OTLP_COMPRESSION", choice(Compression), Compression.NONE, "of exports"
    )
    ca_file: str = setting(
        "OTEL_EXPORTER_OTLP_CERTIFICATE", FILE, "", "the authority of the collector's certificate, PEM"
    )
    temporality: Temporality = setting(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        choice(Temporality),
        Temporality.CUMULATIVE,
        "what an export has: all counts since the start, or what came since the last export (`delta`, `lowmemory`)",
    )
    interval: float = setting(
        "OTEL_METRIC_EXPORT_INTERVAL",
        seconds(100, 3_600_000, per_second=1000),
        60.0,
        "milliseconds between two exports of metrics",
        shown="60000",
    )
    metrics: Signal = setting("OTEL_METRICS_EXPORTER", choice(Signal), Signal.OTLP, "`none` exports no metrics")
    traces_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        _URL,
        "",
        "the whole address for traces, where it is another",
        shown="the endpoint and `/v1/traces`",
        in_repr=False,
    )
    traces: Signal = setting("OTEL_TRACES_EXPORTER", choice(Signal), Signal.OTLP, "`none` exports no traces")
    sampler: TraceSampler = setting(
        "OTEL_TRACES_SAMPLER",
        choice(TraceSampler),
        TraceSampler.PARENT_OR_NONE,
        "which requests are traced: as their caller's `traceparent` says (`parentbased`), all, none, or a share",
    )
    ratio: float = setting("OTEL_TRACES_SAMPLER_ARG", _RATIO, 1.0, "the share for `traceidratio`", shown="1")
    disabled: Disabled = setting("OTEL_SDK_DISABLED", choice(Disabled), Disabled.FALSE, "`true` exports nothing")
    service_name: str = setting(
        "OTEL_SERVICE_NAME", TEXT, "scoring-gateway", "the gateway's name in what is exported (`service.name`)"
    )
    resource: tuple[tuple[str, str], ...] = setting(
        "OTEL_RESOURCE_ATTRIBUTES", _PAIRS, (), "more attributes of the gateway in what is exported", shown=""
    )
    metrics_key: str = setting(
        "METRICS_KEY",
        _KEY,
        "",
        "the key of `GET /api/metrics` for Prometheus, sent as `Authorization: Bearer`; without one it is off",
        in_repr=False,
    )
    target_seconds: float = setting(
        "LATENCY_TARGET_MS",
        seconds(1, 600_000, per_second=1000),
        0.5,
        "milliseconds in which a request is to be answered, beside the service's own time; it is only counted",
        shown="500",
    )

    slow_seconds: float = setting(
        "LOG_SLOW_MS",
        seconds(0, 600_000, per_second=1000),
        0.0,
        "milliseconds from which a request that scores has a line in the log, though it succeeds; 0 for none",
        shown="0",
    )

    @property
    def metrics_url(self) -> str:
        """Where metrics are exported to; empty where they are not."""
        if self.disabled is Disabled.TRUE or self.metrics is Signal.NONE:
            return ""
        return self.metrics_endpoint or (f"{self.endpoint}/v1/metrics" if self.endpoint else "")

    @property
    def traces_url(self) -> str:
        """Where traces are exported to; empty where they are not."""
        if self.disabled is Disabled.TRUE or self.traces is Signal.NONE:
            return ""
        return self.traces_endpoint or (f"{self.endpoint}/v1/traces" if self.endpoint else "")

    @property
    def is_on(self) -> bool:
        """Whether anything is exported, or can be scraped."""
        return bool(self.metrics_url or self.traces_url or self.metrics_key)

    @property
    def is_delta(self) -> bool:
        return self.temporality is not Temporality.CUMULATIVE


def read_telemetry(reader: Reader) -> TelemetrySettings:
    """The settings; that a key would be sent in the clear is a fault."""
    settings = reader.read(TelemetrySettings)
    urls = [urlsplit(settings.metrics_url), urlsplit(settings.traces_url)]
    if settings.headers and any(url.scheme == "http" and url.hostname not in _LOOPBACK for url in urls):
        reader.fault(
            "OTEL_EXPORTER_OTLP_HEADERS", "is set, but the collector's address is not https: keys could be read"
        )
    return settings
