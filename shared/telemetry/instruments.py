"""Instruments that a request counts with: a few additions each, and no library.

An instrument has a point for each combination of its attributes' values, which come from settings and enumerations,
never from a request: so their number is bounded. An empty value stands for an attribute that is absent.

Counted is on the event loop, or in a thread that alone has the point; another thread may read at any time.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

type Attributes = tuple[str, ...]

# A point's value: a number or, of a histogram, the sum and then the number of values in each bucket.
type Value = float | list[float]
type Points = dict[Attributes, Value]

# What https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/ recommends, in seconds.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# Of parts, most of which take less than the first of those.
SHORT_SECONDS = (0.0005, 0.001, 0.0025, *SECONDS)


class About(NamedTuple):
    """An instrument's name and unit (UCUM), as OpenTelemetry has them, and the names of its attributes."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


class Counter:
    """A number that only grows."""

    __slots__ = ("about", "points")

    def __init__(self, about: About) -> None:
        self.about = about
        self.points: dict[Attributes, float] = {}

    def add(self, attributes: Attributes = (), amount: float = 1) -> None:
        self.points[attributes] = self.points.get(attributes, 0.0) + amount

    def read(self) -> Points:
        """A copy of the points."""
        return dict(self.points)


class Histogram:
    """The distribution of a value: the sum, and the counts of the values up to each of the ``bounds`` and above."""

    __slots__ = ("about", "bounds", "points")

    def __init__(self, about: About, bounds: tuple[float, ...] = SECONDS) -> None:
        self.about = about
        self.bounds = bounds
        self.points: dict[Attributes, list[float]] = {}

    def record(self, attributes: Attributes, value: float) -> None:
        point = self.points.get(attributes)
        if point is None:
            point = self.points[attributes] = [0.0] * (len(self.bounds) + 2)
        point[0] += value
        point[bisect_left(self.bounds, value) + 1] += 1

    def read(self) -> Points:
        """A copy of the points."""
        return {attributes: list(point) for attributes, point in list(self.points.items())}


class Gauge:
    """A value of the moment, observed when it is exported; ``combine`` makes one of several workers' values."""

    __slots__ = ("about", "combine")

    def __init__(self, about: About, combine: Callable[[Iterable[float]], float] = sum) -> None:
        self.about = about
        self.combine = combine


type Instrument = Counter | Histogram | Gauge


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean of some values."""
    found = list(values)
    return sum(found) / len(found)
