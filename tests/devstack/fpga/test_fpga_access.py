import json

import pytest

from devstack.fpga import access
from devstack.fpga.access import KeyRing, Keys

RING = KeyRing(Keys("first", "second"))


@pytest.mark.parametrize(
    ("presented", "name"),
    [
        ("first", "primary"),
        ("second", "secondary"),
        ("third", None),
        ("", None),
        ("Bearer first", None),
        ("fïrst", None),
    ],
)
def test_either_key_is_accepted_and_nothing_else(presented: str, name: str | None) -> None:
    assert RING.match(presented) == name


def test_exchanged_keys_replace_both_old_ones() -> None:
    ring = KeyRing(Keys("first", "second"))
    ring.set(Keys("third", "second"))
    assert [ring.match(key) for key in ("first", "second", "third")] == [None, "secondary", "primary"]


def test_a_source_is_asked_at_each_look_and_its_keys_stay() -> None:
    answers = iter([None, Keys("third", "fourth"), None])
    ring = KeyRing(Keys("first", "second"), lambda: next(answers))
    assert [ring.match("first"), ring.match("first"), ring.match("third")] == ["primary", None, "primary"]


def test_keys_are_read_in_the_form_of_the_control_plane() -> None:
    assert access.parse(b'{"primaryKey": "a", "secondaryKey": "b"}') == Keys("a", "b")


@pytest.mark.parametrize(
    "document",
    [
        "secret",
        ["secret", "secret"],
        {"primaryKey": "secret"},
        {"primaryKey": "secret", "secondaryKey": None},
        {"primaryKey": "secret", "secondaryKey": ""},
        {"primaryKey": "secret", "secondaryKey": "sécret"},
        {"primaryKey": "secret\n", "secondaryKey": "secret"},
    ],
)
def test_other_documents_are_refused_without_repeating_a_key(document: object) -> None:
    with pytest.raises(ValueError, match=r"key|expected") as caught:
        access.parse(json.dumps(document).encode())
    assert "secret" not in str(caught.value)


def test_half_a_document_is_refused_without_repeating_a_key() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        access.parse(b'{"primaryKey": "secret", "secon')
    assert "secret" not in str(caught.value)


def test_keys_do_not_show_in_their_representation() -> None:
    assert "first" not in repr(Keys("first", "second"))
