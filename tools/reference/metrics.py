"""The page of all metrics, from the instruments that count them."""

from shared.telemetry.instruments import Counter, Histogram, Instrument
from shared.telemetry.metrics import INSTRUMENTS
from shared.telemetry.prometheus import name_of
from tools.reference.markdown import GENERATED, table

_INTRODUCTION = """# Metrics

[Telemetry](../telemetry.md) says how to get them. An attribute is absent where it has no value, as `error.type` of what
succeeded. Of several workers of an instance, a scrape by Prometheus has the sum, or of gauges what the kind says.
"""


def page() -> str:
    """The page's text."""
    rows = [_row(one) for one in INSTRUMENTS]
    header = ("name", "in Prometheus", "kind", "unit", "attributes", "meaning")
    return "\n".join((GENERATED, _INTRODUCTION, table(header, rows)))


def _row(one: Instrument) -> tuple[str, ...]:
    about = one.about
    attributes = ", ".join(f"`{name}`" for name in about.attributes)
    return f"`{about.name}`", f"`{name_of(one)}`", _kind(one), f"`{about.unit}`", attributes, about.description


def _kind(one: Instrument) -> str:
    if isinstance(one, Counter | Histogram):
        return type(one).__name__.lower()
    return f"gauge, {one.combine.__name__}"
