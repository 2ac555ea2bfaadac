"""A snapshot in Prometheus' text format, version 0.0.4.

The names follow https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

import math
from collections.abc import Iterator
from itertools import accumulate

from shared.telemetry import metrics
from shared.telemetry.instruments import Attributes, Counter, Histogram, Instrument, Points, Value
from shared.telemetry.snapshot import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# What a unit adds to a name; those in braces are annotations, and add nothing.
_SUFFIXES = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}


def text(snapshot: Snapshot) -> str:
    """The document of one scrape; instruments without points are left out."""
    return "".join(line for one in metrics.INSTRUMENTS if (points := snapshot.of(one)) for line in _family(one, points))


def name_of(instrument: Instrument) -> str:
    """An instrument's name in Prometheus."""
    about = instrument.about
    name = about.name.replace(".", "_") + _SUFFIXES.get(about.unit, "")
    return f"{name}_total" if isinstance(instrument, Counter) else name


def _family(instrument: Instrument, points: Points) -> Iterator[str]:
    name = name_of(instrument)
    kind = type(instrument).__name__.lower()
    yield f"# HELP {name} {_escaped(instrument.about.description)}\n# TYPE {name} {kind}\n"
    for attributes, value in sorted(points.items()):
        labels = _labels(instrument, attributes)
        if isinstance(instrument, Histogram):
            yield from _histogram(name, labels, instrument.bounds, value)
        else:
            yield f"{name}{_braces(labels)} {_number(value)}\n"


def _histogram(name: str, labels: list[str], bounds: tuple[float, ...], value: Value) -> Iterator[str]:
    assert isinstance(value, list)  # noqa: S101 - for the type checker
    total = 0.0
    for bound, total in zip((*bounds, math.inf), accumulate(value[1:]), strict=True):
        bucket = _braces([*labels, f'le="{_number(bound)}"'])
        yield f"{name}_bucket{bucket} {_number(total)}\n"
    yield f"{name}_sum{_braces(labels)} {_number(value[0])}\n{name}_count{_braces(labels)} {_number(total)}\n"


def _labels(instrument: Instrument, attributes: Attributes) -> list[str]:
    names = (name.replace(".", "_") for name in instrument.about.attributes)
    return [f'{name}="{_escaped(value, quotes=True)}"' for name, value in zip(names, attributes, strict=True) if value]


def _braces(labels: list[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _escaped(value: str, *, quotes: bool = False) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace('"', '\\"') if quotes else value


def _number(value: Value) -> str:
    assert not isinstance(value, list)  # noqa: S101 - for the type checker
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
