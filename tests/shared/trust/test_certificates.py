"""Reading pins: what is sound is used, what is not is named."""

import datetime as dt

import pytest

from devstack.authority import Authority, fingerprint
from shared.errors import InvalidPin
from shared.trust.certificates import read_pins

NOW = dt.datetime.now(dt.UTC)
AUTHORITY = Authority.create()
ONE, TWO = AUTHORITY.issue(), AUTHORITY.issue()
EXPIRED = AUTHORITY.issue(not_before=NOW - dt.timedelta(days=2), valid_for=dt.timedelta(days=1))
BROKEN = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


def prints(*certificates: bytes) -> tuple[str, ...]:
    return tuple(map(fingerprint, certificates))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE.certificate, prints(ONE.certificate)),
        (ONE.certificate + TWO.certificate, prints(ONE.certificate, TWO.certificate)),
        (ONE.certificate + ONE.certificate, prints(ONE.certificate)),
        (AUTHORITY.pem, prints(AUTHORITY.pem)),
        (b"\xef\xbb\xbfSubject: x\r\n" + ONE.certificate.replace(b"\n", b"\r\n"), prints(ONE.certificate)),
        (ONE.key + ONE.chain, prints(ONE.certificate, AUTHORITY.pem)),
    ],
    ids=["a leaf", "several", "one twice", "an authority", "as Windows writes it", "with its key and chain"],
)
def test_sound_pins(text: bytes, expected: tuple[str, ...]) -> None:
    pins = read_pins(text.decode(), "pins", NOW)

    assert pins.fingerprints == expected
    assert pins.rejected == ()
    assert pins.bundle.count(b"BEGIN CERTIFICATE") == len(expected)
    assert b"PRIVATE" not in pins.bundle


def test_a_broken_pin_does_not_take_the_sound_one_with_it() -> None:
    pins = read_pins((BROKEN + ONE.certificate).decode(), "cats-pins", NOW)

    assert pins.fingerprints == prints(ONE.certificate)
    assert pins.bundle == ONE.certificate
    assert pins.rejected == ("certificate 1 in secret 'cats-pins' cannot be parsed",)


def test_an_expired_pin_is_left_out_beside_a_current_one() -> None:
    pins = read_pins((EXPIRED.certificate + ONE.certificate).decode(), "cats-pins", NOW)

    assert pins.fingerprints == prints(ONE.certificate)
    assert "expired on" in pins.rejected[0]


def test_an_expired_pin_alone_stays_so_that_the_handshake_names_the_cause() -> None:
    pins = read_pins(EXPIRED.certificate.decode(), "cats-pins", NOW)

    assert pins.fingerprints == prints(EXPIRED.certificate)
    assert "expired on" in pins.rejected[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "Secret 'cats-pins' holds no PEM certificate."),
        (ONE.key.decode(), "Secret 'cats-pins' holds no PEM certificate."),
        (BROKEN.decode(), "Certificate 1 in secret 'cats-pins' cannot be parsed."),
        (ONE.certificate.decode()[:-30], "Secret 'cats-pins' holds no PEM certificate."),
    ],
)
def test_no_pin_at_all_is_an_error(text: str, words: str) -> None:
    with pytest.raises(InvalidPin) as caught:
        read_pins(text, "cats-pins", NOW)
    assert caught.value.detail == words


def test_same_pins_are_equal_so_that_a_channel_stays() -> None:
    assert read_pins(ONE.chain.decode(), "a", NOW) == read_pins(ONE.chain.decode(), "a", NOW)
