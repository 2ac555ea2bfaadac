"""The settings of telemetry: OpenTelemetry's standard variables, and a few of the gateway's own.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and .../configuration/sdk-environment-variables/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from shared.settings.reader import FILE, FLAG, TEXT, Kind, Reader, choice, optional, seconds, setting

if TYPE_CHECKING:
    from shared.settings.insights import InsightsSettings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADER = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]{1,100}")
_SHORTEST_KEY = 16


# What the names of OpenTelemetry's variables for an exporter begin with: for all signals, and for one.
OTLP_PREFIX = "OTEL_EXPORTER_OTLP_"
_METRICS, _TRACES = "metrics", "traces"

_TIMEOUT_SECONDS = 10.0


class Destination(StrEnum):
    """Where exports go, if anywhere."""

    OTLP = "otlp"
    APPLICATION_INSIGHTS = "application-insights"


class OtlpProtocol(StrEnum):
    """How exports are sent; OpenTelemetry's other, as JSON, is not offered."""

    HTTP = "http/protobuf"
    GRPC = "grpc"


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
class OtlpSettings:
    """How exports go to a collector: those of all signals, or of one, where that has its own."""

    endpoint: str = setting(
        "ENDPOINT",
        _URL,
        "",
        "an OpenTelemetry collector, as in `http://collector:4318`: metrics and traces are exported to it",
        in_repr=False,
    )
    protocol: OtlpProtocol | None = setting(
        "PROTOCOL", optional(OtlpProtocol), None, "how exports are sent", shown=OtlpProtocol.HTTP
    )
    headers: tuple[tuple[str, str], ...] = setting(
        "HEADERS",
        _PAIRS,
        (),
        "headers of exports, such as a key of the collector: then its address is https, or http on loopback",
        shown="",
        in_repr=False,
    )
    timeout_seconds: float = setting(
        "TIMEOUT", seconds(1, 60_000, per_second=1000), 0.0, "milliseconds for one export", shown="10000"
    )
    compression: Compression | None = setting(
        "COMPRESSION", optional(Compression), None, "of exports", shown=Compression.NONE
    )
    ca_file: str = setting("CERTIFICATE", FILE, "", "the authority of the collector's certificate, PEM")
    client_certificate: str = setting(
        "CLIENT_CERTIFICATE", FILE, "", "for mutual TLS: the gateway's own certificate, PEM"
    )
    client_key: str = setting("CLIENT_KEY", FILE, "", "its private key, PEM")


@dataclass(frozen=True)
class TelemetrySettings:
    """Where telemetry goes; all of it is off by default.

    ``otlp_metrics`` and ``otlp_traces`` have the whole address of their signal, empty where it is not exported.
    """

    destination: Destination = setting(
        "TELEMETRY",
        choice(Destination),
        Destination.OTLP,
        "`application-insights` exports there, as `APPLICATIONINSIGHTS_...` say, and to no collector",
    )
    otlp_metrics: OtlpSettings = field(default_factory=OtlpSettings)
    otlp_traces: OtlpSettings = field(default_factory=OtlpSettings)
    insights: "InsightsSettings | None" = None
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
    log_invocations: bool = setting(
        "LOG_INVOCATIONS",
        FLAG,
        False,
        "`yes`: the worker logs each invocation for Microsoft's support, which costs much of a score's processor time",
        shown="no",
    )

    @property
    def exports_metrics(self) -> bool:
        return self._exports(self.metrics, self.otlp_metrics)

    @property
    def exports_traces(self) -> bool:
        return self._exports(self.traces, self.otlp_traces)

    @property
    def is_on(self) -> bool:
        """Whether anything is exported, or can be scraped."""
        return self.exports_metrics or self.exports_traces or bool(self.metrics_key)

    @property
    def seconds(self) -> float:
        """The time for one export of either signal."""
        return max(self.otlp_metrics.timeout_seconds, self.otlp_traces.timeout_seconds) or _TIMEOUT_SECONDS

    @property
    def is_delta(self) -> bool:
        # Application Insights adds up what it gets.
        return self.insights is not None or self.temporality is not Temporality.CUMULATIVE

    def _exports(self, signal: Signal, otlp: OtlpSettings) -> bool:
        is_off = self.disabled is Disabled.TRUE or signal is Signal.NONE
        return not is_off and (self.insights is not None or bool(otlp.endpoint))


def read_telemetry(reader: Reader) -> TelemetrySettings:
    """The settings; that a key would be sent in the clear is a fault."""
    settings = reader.read(TelemetrySettings)
    if settings.destination is Destination.APPLICATION_INSIGHTS:
        # The platform sets its variables wherever the function app has it, so elsewhere they are not looked at.
        from shared.settings.insights import InsightsSettings  # noqa: PLC0415 - most cold starts need none of it

        return replace(settings, insights=reader.read(InsightsSettings))
    general = _otlp_reader(reader).read(OtlpSettings)
    settings = replace(
        settings,
        otlp_metrics=_of_signal(_METRICS, general, reader),
        otlp_traces=_of_signal(_TRACES, general, reader),
    )
    if settings.exports_metrics:
        _check(settings.otlp_metrics, _METRICS, reader)
    if settings.exports_traces:
        _check(settings.otlp_traces, _TRACES, reader)
    return settings


def _otlp_reader(reader: Reader, signal: str = "") -> Reader:
    return reader.within(f"{OTLP_PREFIX}{signal.upper()}{'_' if signal else ''}")


def _of_signal(signal: str, general: OtlpSettings, reader: Reader) -> OtlpSettings:
    """How one signal is exported: by its own settings, and else by the general ones."""
    own = _otlp_reader(reader, signal).read(OtlpSettings)
    given = {one.name: getattr(own, one.name) for one in fields(OtlpSettings) if getattr(own, one.name)}
    both = replace(general, **given)
    if both.endpoint and not own.endpoint and both.protocol is not OtlpProtocol.GRPC:
        # Of a signal's own, nothing is added to the address.
        both = replace(both, endpoint=f"{both.endpoint}/v1/{signal}")
    return replace(both, timeout_seconds=both.timeout_seconds or _TIMEOUT_SECONDS)


def _check(otlp: OtlpSettings, signal: str, reader: Reader) -> None:
    def fault(key: str, what: str) -> None:
        own = _otlp_reader(reader, signal)
        where = own if own.text(key) else _otlp_reader(reader)
        if f"{where.prefix}{key} {what}" not in reader.faults:  # the other signal's as well
            where.fault(key, what)

    url = urlsplit(otlp.endpoint)
    if otlp.headers and url.scheme == "http" and url.hostname not in _LOOPBACK:
        fault("HEADERS", "is set, but the collector's address is not https: keys could be read")
    if bool(otlp.client_certificate) is not bool(otlp.client_key):
        given, other = ("CLIENT_CERTIFICATE", "CLIENT_KEY")[:: 1 if otlp.client_certificate else -1]
        fault(given, f"is set without {other}; mutual TLS needs both")
    if otlp.protocol is OtlpProtocol.GRPC and url.path:
        fault("ENDPOINT", "has a path, which gRPC does not use: a scheme, host and port are needed")
