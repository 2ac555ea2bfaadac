"""Parsing of pins: valid certificates are used, invalid ones are reported."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from devstack.authority import Authority, fingerprint
from shared.credentials.pins import LONGEST, ClientCertificate, is_authority, load, read_pins, split
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
    [name], date = fingerprints(EXPIRED.certificate), NOW - dt.timedelta(days=1)
    assert pins.rejected == (f"pin {name[:16]} in 'cats-pins' expired on {date:%Y-%m-%d}",)
    at_its_end = load(ONE.certificate.decode()).not_valid_after_utc
    assert len(read_pins(ONE.certificate.decode(), "cats-pins", at_its_end).rejected) == 1


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
        (
            BROKEN.decode() * 7,
            f"C{'; c'.join(f"ertificate {number} in secret 'cats-pins' cannot be parsed" for number in range(1, 6))}.",
        ),
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


def test_what_a_log_shows_of_pins_and_of_a_client_certificate() -> None:
    one, two = fingerprints(ONE.certificate, TWO.certificate)

    assert repr(read_pins((ONE.certificate + TWO.certificate).decode(), "a", NOW)) == f"<Pins {one[:16]}, {two[:16]}>"
    assert "SECRET" not in repr(ClientCertificate(b"chain", b"SECRET", one, NOW))


def test_the_usable_certificates_of_a_text_are_each_found_once() -> None:
    text = b"".join((ONE.certificate, BROKEN, EXPIRED.certificate, ONE.certificate[:300] + b"\n", ONE.certificate))

    found = split(text.decode())

    assert [one.serial_number for one in found] == [
        load(one.certificate.decode()).serial_number for one in (ONE, EXPIRED)
    ]


def test_a_text_is_read_up_to_its_longest_length() -> None:
    for length, expected in ((LONGEST, 1), (LONGEST + 1, 0)):
        text = ONE.certificate.decode().strip().rjust(length)
        assert len(split(text)) == expected
    assert LONGEST == 100_000


def test_what_was_withdrawn_and_who_is_an_authority() -> None:
    both, one = (read_pins(text.decode(), "a", NOW) for text in (ONE.certificate + TWO.certificate, ONE.certificate))

    assert both.without(one) == fingerprints(TWO.certificate)
    assert one.without(both) == ()
    assert [is_authority(load(text.decode())) for text in (AUTHORITY.pem, ONE.certificate)] == [True, False]


def test_a_certificate_without_extensions_is_no_authority() -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + dt.timedelta(days=1))

    assert not is_authority(builder.sign(key, hashes.SHA256()))
