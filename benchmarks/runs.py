"""Several runs of one section, as one result: medians, and the spread of the ratios."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

# Counts: of all runs together.
_ADDED = frozenset({"calls", "failed", "noisy", "rejected", "repeated", "requests", "samples", "slices"})


def merged(runs: Sequence[Any], name: str = "") -> Any:
    """The median of each number, the sum of each count; what differs in its form is the first run's."""
    first = runs[0]
    if isinstance(first, Mapping) and all(isinstance(one, Mapping) and one.keys() == first.keys() for one in runs):
        return {key: merged([one[key] for one in runs], key) for key in first}
    if isinstance(first, list) and all(isinstance(one, list) and len(one) == len(first) for one in runs):
        return [merged(several, name) for several in zip(*runs, strict=True)]
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in runs):
        return sum(runs) if name in _ADDED else median(runs)
    return first


def spread(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The least and the greatest value of each ratio, of those that every run has."""
    ratios = [one["ratios"] for one in runs]
    return {
        name: [min(one[name] for one in ratios), max(one[name] for one in ratios)]
        for name in ratios[0]
        if all(name in one for one in ratios)
    }
