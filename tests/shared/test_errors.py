"""The tree of errors: one class a problem type."""

import re

import pytest

from shared import errors
from shared.errors import GatewayError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]
PROBLEMS = [kind for kind in ALL if kind is not GatewayError]


def test_the_tree_is_flat_and_each_type_has_a_slug_of_its_own() -> None:
    assert all(kind.__bases__ == (GatewayError,) for kind in PROBLEMS)
    assert len({kind.slug for kind in PROBLEMS}) == len(PROBLEMS) > 25


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.slug)
def test_a_problem_type_says_what_it_is(kind: type[GatewayError]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.slug)
    assert 400 <= kind.status < 600
    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.remedy is None or kind.remedy.endswith(".")
    # Whoever operates the gateway is the one who reads of a fault behind it, and needs to know what to do.
    assert kind.remedy or kind.status < 500
