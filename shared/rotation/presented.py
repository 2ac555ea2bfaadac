"""What a server presented in a handshake that verified nothing: good for comparing and reporting, no more."""

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from shared.credentials.pins import UNUSABLE, fingerprint

# How many names of a certificate are read, and how many characters of each: the longest DNS name.
_MOST_NAMES, _LONGEST_NAME = 100, 253
# Characters of a subject or an issuer.
_LONGEST_DISTINGUISHED_NAME = 400

# Security strengths of keys in bits (NIST SP 800-57 part 1, table 2).
_RSA_STRENGTHS = ((15360, 256), (7680, 192), (3072, 128), (2048, 112))


@dataclass(frozen=True)
class Presented:
    """A certificate that was merely seen; it may be an attacker's.

    It holds no certificate, so that no connection can be made to trust it: see :class:`shared.credentials.pins.Roots`.
    ``strength`` is zero where that of its key is not known.
    """

    fingerprint: str
    names: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    strength: int
    subject: str = ""
    issuer: str = ""

    @classmethod
    def of(cls, der: bytes) -> "Presented":
        """From its DER form.

        Raises:
            ValueError: it is no certificate.
        """
        certificate = x509.load_der_x509_certificate(der)
        try:
            bits = strength(certificate.public_key())
        except UNUSABLE:
            bits = 0
        validity = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return cls(fingerprint(certificate), tuple(names(certificate)), *validity, bits, *parties(certificate))


@dataclass(frozen=True)
class Handshakes:
    """What a service's addresses presented, without those that did not respond.

    ``refused``: the TLS of one of them refuses every handshake with an alert.
    """

    presented: tuple[Presented, ...]
    refused: bool = False


def names(leaf: x509.Certificate) -> list[str]:
    """The DNS names and IP addresses in a certificate's subjectAltName (SAN), printable; none where it is malformed."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNUSABLE):
        return []
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return [_printable(name) for name in (*found.get_values_for_type(x509.DNSName), *addresses)][:_MOST_NAMES]


def parties(certificate: x509.Certificate) -> tuple[str, str]:
    """A certificate's subject and issuer as RFC 4514 writes them, printable; empty where they are malformed."""
    try:
        found = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except UNUSABLE:
        return "", ""
    subject, issuer = (_printable(one, _LONGEST_DISTINGUISHED_NAME) for one in found)
    return subject, issuer


def strength(key: PublicKeyTypes) -> int:
    """The security strength of a key in bits; zero for kinds that no TLS uses."""
    if isinstance(key, rsa.RSAPublicKey):
        return next((bits for size, bits in _RSA_STRENGTHS if key.key_size >= size), 80)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size // 2
    if isinstance(key, ed25519.Ed25519PublicKey):
        return 128
    return 224 if isinstance(key, ed448.Ed448PublicKey) else 0


def _printable(name: str, longest: int = _LONGEST_NAME) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:longest])
