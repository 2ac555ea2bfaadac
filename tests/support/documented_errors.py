"""Compares a problem document with the documented example of its type."""

from collections.abc import Mapping
from typing import Any

from functions.http.problems import PROBLEM_TYPE
from shared.errors import problem_types
from tools.reference.examples import EXAMPLES


def matches_example(slug: str, document: Mapping[str, Any]) -> bool:
    """Whether a problem document is the one in docs/reference/errors.md, except for its request id."""
    [kind] = [one for one in problem_types() if one.slug == slug]
    actual = dict(document)
    assert actual.pop("request_id")
    expected = {"type": PROBLEM_TYPE + slug, "title": kind.title, "status": kind.status, **EXAMPLES[slug]}
    assert actual == expected | ({"remedy": kind.remedy} if kind.remedy else {})
    return True


def protocol_example(slug: str) -> tuple[int, str]:
    """The documented example in the form of the protocol endpoints: the status and the message."""
    [kind] = [one for one in problem_types() if one.slug == slug]
    return 400 if kind.status == 422 else kind.status, str(EXAMPLES[slug]["detail"])
