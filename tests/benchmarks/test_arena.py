"""Slices: whose errors end a run, and whose are begun anew."""

from collections.abc import Awaitable, Callable

import pytest

from benchmarks.arena import Cost, Samples, _add_slice
from benchmarks.http_load import BadAnswer, Done, Slice
from benchmarks.quiet import Taken


def failing(times: int) -> Callable[[], Awaitable[Taken[Cost]]]:
    """A slice that so many times ends with an error."""
    left = [times]

    async def take() -> Taken[Cost]:
        if left[0]:
            left[0] -= 1
            raise BadAnswer("an error")
        made = Slice(0.0)
        made.done += [Done(1.0, 1.0), Done(2.0, 1.0)]
        return Taken(Cost(made, 0.1), 0.0, 1)

    return take


async def test_a_slice_that_fails_is_begun_anew_and_counted() -> None:
    samples = Samples()

    await _add_slice(samples, failing(2), anew=2)

    assert (samples.failed, len(samples.costs)) == (2, 1)
    assert samples.summary()["failed"] == 2


async def test_one_that_goes_on_failing_ends_the_run() -> None:
    with pytest.raises(BadAnswer):
        await _add_slice(Samples(), failing(3), anew=2)


async def test_the_gateways_first_error_does() -> None:
    with pytest.raises(BadAnswer):
        await _add_slice(Samples(), failing(1), anew=0)
