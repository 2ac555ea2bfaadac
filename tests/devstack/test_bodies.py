"""Request bodies: what is no JSON object is told so, in one way for all servers."""

import pytest

from devstack.bodies import BadBody, parse_object


def test_an_object_is_read() -> None:
    assert parse_object('{"a": [1, "é"]}'.encode()) == {"a": [1, "é"]}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": "\\ud83d"}'])
def test_what_is_no_json_is_told(body: bytes) -> None:
    with pytest.raises(BadBody, match=r"^The request body is not valid JSON\.$"):
        parse_object(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_what_is_no_object_is_told(body: bytes) -> None:
    with pytest.raises(BadBody, match=r"^The request body is not a JSON object\.$"):
        parse_object(body)
