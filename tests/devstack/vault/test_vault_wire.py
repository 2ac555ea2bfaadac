"""Pages, bodies and API versions, as values."""

from typing import Any

import pytest
from azure.keyvault.secrets import ApiVersion

from devstack.vault import wire
from devstack.vault.errors import BadParameter


def pages(entries: list[str], **query: str) -> list[list[str]]:
    """All pages, as a client that follows the tokens sees them."""
    found = []
    while True:
        chosen, token = wire.page(entries, str, query)
        found.append(list(chosen))
        if token is None:
            return found
        query["$skiptoken"] = token


LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def test_a_page_holds_25_entries_unless_fewer_are_asked_for() -> None:
    assert pages(LETTERS) == [LETTERS[:25], ["z"]]
    assert pages(LETTERS[:5], maxresults="2") == [["a", "b"], ["c", "d"], ["e"]]


def test_there_is_no_empty_page_after_a_full_one() -> None:
    assert pages(LETTERS[:4], maxresults="2") == [["a", "b"], ["c", "d"]]
    assert pages([]) == [[]]


def test_a_change_between_two_pages_neither_repeats_nor_skips_what_stayed() -> None:
    _, token = wire.page(["b", "d", "f"], str, {"maxresults": "2"})
    assert token is not None

    chosen, _ = wire.page(["a", "b", "e", "f"], str, {"$skiptoken": token})  # "d" is gone, "a" and "e" are new

    assert list(chosen) == ["e", "f"]


@pytest.mark.parametrize("size", ["0", "26", "-1", "ten", "", "1.5", "\u0661"])
def test_a_page_size_that_key_vault_does_not_offer_is_refused(size: str) -> None:
    with pytest.raises(BadParameter, match="maxresults must be a number from 1 to 25"):
        wire.page(LETTERS, str, {"maxresults": size})


@pytest.mark.parametrize("token", ["%", "é", "a", "_w"])
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(BadParameter, match=r"\$skiptoken is not one of this vault's"):
        wire.page(LETTERS, str, {"$skiptoken": token})


def test_the_next_link_keeps_version_and_page_size() -> None:
    link = wire.next_link("https://vault/secrets", "7.4", {"maxresults": "2"}, "TOKEN")

    assert link == "https://vault/secrets?api-version=7.4&$skiptoken=TOKEN&maxresults=2"
    assert wire.next_link("https://vault/secrets", "7.4", {}, None) is None


@pytest.mark.parametrize("version", [*ApiVersion, "7.6-preview.2", "2025-06-01-preview", "2031-01-01"])
def test_every_version_that_the_sdk_knows_and_later_ones_are_accepted(version: str) -> None:
    wire.check_api_version(str(getattr(version, "value", version)))


@pytest.mark.parametrize("version", ["6.0", "7.7", "7", "latest", "2015-06-01", "7.0\n"])
def test_an_unknown_version_is_refused_with_the_latest_one(version: str) -> None:
    with pytest.raises(BadParameter, match=r"is not recognized. .*supported version \(2026-04-01\)\."):
        wire.check_api_version(version)


def test_changes_are_what_a_body_names() -> None:
    body = {
        "value": "v",
        "contentType": "text/plain",
        "tags": {"a": "1"},
        "attributes": {"enabled": False, "nbf": 1, "exp": 2, "created": 3},
    }

    assert wire.parse_changes(body) == {
        "enabled": False,
        "not_before": 1,
        "expires": 2,
        "content_type": "text/plain",
        "tags": {"a": "1"},
    }
    assert wire.parse_changes({}) == wire.parse_changes({"attributes": None, "tags": None}) == {}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"attributes": []}, "attributes"),
        ({"attributes": {"enabled": 1}}, "enabled"),
        ({"attributes": {"nbf": "1"}}, "nbf"),
        ({"attributes": {"exp": True}}, "exp"),
        ({"attributes": {"exp": 1.5}}, "exp"),
        ({"attributes": {"exp": -1}}, "exp"),
        ({"attributes": {"exp": 253_402_300_800}}, "exp"),
        ({"contentType": 1}, "contentType"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
    ],
)
def test_an_attribute_of_the_wrong_type_is_refused_by_name(body: dict[str, Any], name: str) -> None:
    with pytest.raises(BadParameter, match=f"Property {name} has invalid value"):
        wire.parse_changes(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"value": "\\ud800"}', "not valid JSON"),
        (b"[]", "not a JSON object"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        wire.parse_object(body)


@pytest.mark.parametrize("blob", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_blobs_travel_with_and_without_padding(blob: bytes) -> None:
    text = wire.encode_blob(blob)

    assert "=" not in text
    assert wire.decode_blob(text) == wire.decode_blob(text + "=" * (-len(text) % 4)) == blob
