"""All metrics at one moment: of this worker, or of several together."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.telemetry import metrics
from shared.telemetry.instruments import Gauge, Histogram, Instrument, Points, Value

# When this worker started to count, in nanoseconds of Unix time.
STARTED = time.time_ns()


@dataclass(frozen=True)
class Snapshot:
    """The points of each instrument, by its name; ``at`` and ``since`` are in nanoseconds of Unix time."""

    points: Mapping[str, Points]
    at: int
    since: int = STARTED

    def of(self, instrument: Instrument) -> Points:
        return self.points.get(instrument.about.name, {})


def take() -> Snapshot:
    """Read all instruments of this worker."""
    points: dict[str, Points] = {
        one.about.name: one.read() for one in metrics.INSTRUMENTS if not isinstance(one, Gauge)
    }
    for gauge, attributes, value in metrics.observed():
        points.setdefault(gauge.about.name, {})[attributes] = value
    return Snapshot(points, time.time_ns())


def combined(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Several workers' figures as one: counts are added up, gauges combined as each one says."""
    points: dict[str, Points] = {}
    for instrument in metrics.INSTRUMENTS:
        values = defaultdict(list)
        for snapshot in snapshots:
            for attributes, value in snapshot.of(instrument).items():
                values[attributes].append(value)
        if values:
            points[instrument.about.name] = {
                attributes: _combined(instrument, several) for attributes, several in values.items()
            }
    return Snapshot(points, max(one.at for one in snapshots), min(one.since for one in snapshots))


def _combined(instrument: Instrument, values: Iterable[Any]) -> Value:
    if isinstance(instrument, Gauge):
        return instrument.combine(values)
    if isinstance(instrument, Histogram):
        return [sum(several) for several in zip(*values, strict=True)]
    return float(sum(values))


def difference(later: Snapshot, earlier: Snapshot | None) -> Snapshot:
    """What was counted between two snapshots of one worker, without what did not change; gauges are the later one's."""
    if earlier is None:
        return later
    points: dict[str, Points] = {}
    for name, found in later.points.items():
        before = earlier.points.get(name, {})
        if isinstance(metrics.BY_NAME[name], Gauge):
            points[name] = found
        else:
            changed = {key: value for key, value in found.items() if value != before.get(key)}
            points[name] = {key: _less(value, before.get(key)) for key, value in changed.items()}
    return Snapshot(points, later.at, earlier.at)


def _less(value: Value, before: Value | None) -> Value:
    if before is None:
        return value
    if isinstance(value, list) and isinstance(before, list):
        return [one - other for one, other in zip(value, before, strict=True)]
    assert not isinstance(value, list)  # noqa: S101 - for the type checker: both are numbers
    assert not isinstance(before, list)  # noqa: S101 - as above
    return value - before


def counts(snapshot: Snapshot) -> Snapshot:
    """A snapshot without its gauges: what remains of a worker that ended."""
    kept = {name: points for name, points in snapshot.points.items() if not isinstance(metrics.BY_NAME[name], Gauge)}
    return Snapshot(kept, snapshot.at, snapshot.since)


def to_json(snapshot: Snapshot) -> str:
    """A snapshot as text; see :func:`from_json`."""
    points = {name: [[list(key), value] for key, value in found.items()] for name, found in snapshot.points.items()}
    return json.dumps({"at": snapshot.at, "since": snapshot.since, "points": points})


def from_json(text: str) -> Snapshot:
    """The snapshot in a text that another worker of the same version wrote.

    Raises:
        ValueError: it is no such text.
    """
    try:
        document = json.loads(text)
        points = {str(name): _points(metrics.BY_NAME[name], found) for name, found in document["points"].items()}
        return Snapshot(points, int(document["at"]), int(document["since"]))
    except (KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"not a snapshot: {type(fault).__name__}") from None


def _points(instrument: Instrument, found: list[Any]) -> Points:
    return {tuple(map(str, key)): _value(instrument, value) for key, value in found}


def _value(instrument: Instrument, value: Any) -> Value:
    if not isinstance(instrument, Histogram):
        return float(value)
    if not isinstance(value, list) or len(value) != len(instrument.bounds) + 2:
        raise ValueError("not a snapshot: a histogram with other bounds")
    return [float(one) for one in value]
