"""Figures of simulations that are as long as the measurement, and so vary as much."""

from collections.abc import Callable, Sequence

import numpy as np

# How often each case is simulated.
RUNS = 40


def spread(runs: Sequence[float], show: Callable[[float], str]) -> str:
    """The median, and the lowest and the highest in brackets."""
    least, middle, most = np.percentile(runs, (0, 50, 100))
    if show(least) == show(most):
        return show(middle)
    return f"{show(middle)} ({show(least)} to {show(most)})"
