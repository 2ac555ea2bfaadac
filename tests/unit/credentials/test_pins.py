"""Parsing of pins: valid certificates are used, invalid ones are reported."""

import datetime as dt

import pytest

from devstack.authority import Authority, fingerprint
from shared.credentials.pins import read_pins
from shared.errors import InvalidPin

NOW = dt.datetime.now(dt.UTC)
AUTHORITY = Authority.create()
ONE, TWO = AUTHORITY.issue(), AUTHORITY.issue()
EXPIRED = AUTHORITY.issue(not_before=NOW - dt.timedelta(days=2), valid_for=dt.timedelta(days=1))
BROKEN = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


def fingerprints(*certificates: bytes) -> tuple[str, ...]:
    return tuple(map(fingerprint, certificates))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE.certificate, fingerprints(ONE.certificate)),
        (ONE.certificate + TWO.certificate, fingerprints(ONE.certificate, TWO.certificate)),
        (ONE.certificate + ONE.certificate, fingerprints(ONE.certificate)),
        (AUTHORITY.pem, fingerprints(AUTHORITY.pem)),
        (b"\xef\xbb\xbfSubject: x\r\n" + ONE.certificate.replace(b"\n", b"\r\n"), fingerprints(ONE.certificate)),
        (ONE.key + ONE.chain, fingerprints(ONE.certificate, AUTHORITY.pem)),
    ],
    ids=["leaf", "several", "duplicate", "authority", "byte order mark and CRLF", "with its key and chain"],
)
def test_valid_pins_are_used(text: bytes, expected: tuple[str, ...]) -> None:
    pins = read_pins(text.decode(), "pins", NOW)

    assert pins.fingerprints == expected
    assert pins.rejected == ()
    assert pins.bundle.count(b"BEGIN CERTIFICATE") == len(expected)
    assert b"PRIVATE" not in pins.bundle


def test_an_invalid_pin_is_rejected_and_the_valid_one_is_used() -> None:
    pins = read_pins((BROKEN + ONE.certificate).decode(), "cats-pins", NOW)

    assert pins.fingerprints == fingerprints(ONE.certificate)
    assert pins.bundle == ONE.certificate
    assert pins.rejected == ("certificate 1 in secret 'cats-pins' cannot be parsed",)


@pytest.mark.parametrize("kept", [-30, 300, 30], ids=["before its end line", "in its middle", "after its begin line"])
def test_a_pin_that_is_cut_short_does_not_swallow_the_next(kept: int) -> None:
    pins = read_pins((ONE.certificate[:kept] + b"\n" + TWO.certificate).decode(), "cats-pins", NOW)

    assert pins.fingerprints == fingerprints(TWO.certificate)
    assert pins.rejected == ("certificate 1 in secret 'cats-pins' is cut short: its END line is missing",)


def test_an_expired_pin_is_omitted_if_another_is_valid() -> None:
    pins = read_pins((EXPIRED.certificate + ONE.certificate).decode(), "cats-pins", NOW)

    assert pins.fingerprints == fingerprints(ONE.certificate)
    assert "expired on" in pins.rejected[0]


def test_a_single_expired_pin_is_used_so_that_the_handshake_fails_with_the_cause() -> None:
    pins = read_pins(EXPIRED.certificate.decode(), "cats-pins", NOW)

    assert pins.fingerprints == fingerprints(EXPIRED.certificate)
    assert "expired on" in pins.rejected[0]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("hello", "Secret 'cats-pins' contains no PEM certificate."),
        ("", "Secret 'cats-pins' contains no PEM certificate."),
        ("\n \0", "Secret 'cats-pins' contains no PEM certificate."),
        (ONE.key.decode(), "Secret 'cats-pins' contains no PEM certificate."),
        (BROKEN.decode(), "Certificate 1 in secret 'cats-pins' cannot be parsed."),
        (
            ONE.certificate.decode()[:-30],
            "Certificate 1 in secret 'cats-pins' is cut short: its END line is missing.",
        ),
    ],
)
def test_pins_without_a_valid_certificate_are_an_error(text: str, detail: str) -> None:
    with pytest.raises(InvalidPin) as caught:
        read_pins(text, "cats-pins", NOW)
    assert caught.value.detail == detail


def test_identical_pins_are_equal() -> None:
    assert read_pins(ONE.chain.decode(), "a", NOW) == read_pins(ONE.chain.decode(), "a", NOW)
