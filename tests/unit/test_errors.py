"""The error classes: one for each problem type."""

import re

import pytest

from shared import errors
from shared.errors import GatewayError, problem_types

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]
PROBLEMS = problem_types()


def test_where_the_remedy_is_to_try_again_it_is_known_when() -> None:
    for kind in PROBLEMS:
        assert (kind("cause").retry_after is not None) == (kind.remedy or "").startswith("Try again"), kind


def test_every_problem_type_has_a_unique_slug_and_is_a_direct_subclass_of_the_base() -> None:
    assert all(kind.__bases__ == (GatewayError,) for kind in PROBLEMS)
    assert len({kind.slug for kind in PROBLEMS}) == len(PROBLEMS) > 25


def test_every_other_error_is_a_direct_subclass_of_a_problem_type() -> None:
    others = [kind for kind in ALL if kind not in PROBLEMS and kind is not GatewayError]

    assert all(kind.__bases__[0] in PROBLEMS for kind in others)


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.slug)
def test_a_problem_type_has_valid_texts(kind: type[GatewayError]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.slug)
    assert 400 <= kind.status < 600
    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.meaning.endswith(".")
    assert kind.remedy is None or kind.remedy.endswith(".")
    # Server faults need a remedy for operators.
    assert kind.remedy or not kind("").is_server_fault
