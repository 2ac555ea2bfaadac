"""Text of foreign origin: one printable line, short, and without what must not be repeated."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.quoting import listed, printable, quoted


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nWARNING  b\tc\x00d\u2028e", "a WARNING b c d e"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text\x1b]8;;http://x\x1b\\ link", "text link"),
        ("\x9b2Jcleared", "cleared"),
        ("right\u202eto left\u200b", "right to left"),
        ("StatefulPartitionedCall:10", "StatefulPartitionedCall:10"),
        ("\ud800", ""),
        ("Zürich, 東京", "Zürich, 東京"),
    ],
)
def test_text_becomes_one_printable_line(text: str, line: str) -> None:
    assert printable(text) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("to 10.0.0.1:8500 and 10.1.2.3", "to (address) and (address)"),
        ("ipv4:10.0.0.1:80 failed", "(address) failed"),
        ("at [fd00::1]:443, fe80::1 or ::1", "at (address), (address) or (address)"),
        ("tfs-0.models.svc.cluster.local, db.internal", "(address), (address)"),
        ("host:8500 inner.example.com:443", "(address) (address)"),
        ("shape [1, 224], std::string, call:0", "shape [1, 224], std::string, call:0"),
        ("10.0\x1b[0m.0.1:80", "(address)"),
        ("-----BEGIN KEY-----\nabc\n-----END KEY----- after", "*** after"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln end", "token *** end"),
        ("the key is s3cret.", "the key is ***."),
    ],
)
def test_addresses_and_secrets_are_replaced(text: str, line: str) -> None:
    assert quoted(text, secrets=["s3cret", ""]) == line


@pytest.mark.parametrize(
    "piece", ["a-", "a.", ":", "a:", "[:", "eyJ", "-----BEGIN", "\x1b]", "1.", "\x1b[0", " ", "\n"]
)
def test_megabytes_are_cut_before_they_are_looked_at(piece: str) -> None:
    text = piece * 5_000_000

    assert len(quoted(text)) <= 200
    assert len(printable(text, 40)) <= 40


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(max_size=300) | st.text("\x1b[]0;m\n\x9b:a.1-", max_size=300), st.integers(2, 60))
def test_any_text_is_printable_and_short(text: str, limit: int) -> None:
    for line in (printable(text, limit), quoted(text, limit=limit)):
        assert line.isprintable()
        assert len(line) <= limit


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b\n"]) == "'a', 'b'"
    assert listed([f"name {index}" for index in range(20_000)], 2) == "'name 0', 'name 1' and 19998 more"
    assert not listed([])
