"""Pauses between attempts: doubled, capped, and partly random."""

import pytest

from shared.backoff import backoff


@pytest.mark.parametrize(
    ("attempt", "expected"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (100_000, 60)], ids=str
)
def test_a_pause_doubles_up_to_the_longest(attempt: int, expected: float) -> None:
    assert backoff(attempt, 2, 60) == expected


def test_doubling_ends_where_no_pause_is_as_long() -> None:
    assert backoff(33, 1, 1e300) == backoff(34, 1, 1e300) == backoff(100_000, 1, 1e300) == 2.0**32


@pytest.mark.parametrize(
    ("jitter", "chance", "expected"), [(1, 0, 0), (1, 0.25, 2), (0.5, 0, 4), (0.5, 0.5, 6), (0.5, 1, 8), (0, 0.5, 8)]
)
def test_the_random_share_of_a_pause(jitter: float, chance: float, expected: float) -> None:
    assert backoff(3, 2, 60, jitter=jitter, chance=lambda: chance) == expected


def test_without_jitter_nothing_is_random() -> None:
    assert backoff(1, 1.5, 60) == 1.5
    assert 0 <= backoff(1, 1.5, 60, jitter=1) <= 1.5
