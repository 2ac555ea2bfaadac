"""Certificates as PEM: reading the pins, and refusing what gRPC would choke on.

gRPC stops at the first PEM block that it cannot parse and drops all that follow, so every block is parsed here first,
and only sound ones are handed on.
"""

import datetime as dt
import re
from contextlib import suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from shared.errors import InvalidPin

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Pins:
    """The certificates that a service may present, or that may have issued what it presents.

    ``bundle`` is PEM, ready for gRPC; ``fingerprints`` are SHA-256 in hexadecimal, in the bundle's order; ``rejected``
    says why blocks of the secret were left out.
    """

    bundle: bytes
    fingerprints: tuple[str, ...]
    rejected: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Pins {', '.join(fingerprint[:16] for fingerprint in self.fingerprints)}>"


def read_pins(text: str, secret: str, now: dt.datetime) -> Pins:
    """Read the certificates out of a secret's value; a private key beside them is passed over.

    Expired certificates are left out (a handshake would refuse them), unless there is nothing else: then they stay, so
    that the handshake names the cause.

    Args:
        text: PEM, one or more certificates.
        secret: the secret's name, for the error.
        now: with a time zone.

    Raises:
        InvalidPin: no certificate in it can be parsed.
    """
    sound: list[x509.Certificate] = []
    rejected: list[str] = []
    for number, block in enumerate(_BLOCK.findall(text.encode()), 1):
        try:
            sound.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            rejected.append(f"certificate {number} in secret {secret!r} cannot be parsed")
    if not sound:
        what = "; ".join(rejected) if rejected else f"secret {secret!r} holds no PEM certificate"
        raise InvalidPin(f"{what[0].upper()}{what[1:]}.", secret=secret)
    current = [certificate for certificate in sound if certificate.not_valid_after_utc > now]
    rejected += [
        f"pin {fingerprint(certificate)[:16]} in {secret!r} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        for certificate in sound
        if certificate not in current
    ]
    chosen = list(dict.fromkeys(current or sound))
    return Pins(
        bundle=b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chosen),
        fingerprints=tuple(fingerprint(certificate) for certificate in chosen),
        rejected=tuple(rejected),
    )


def split(text: str) -> list[x509.Certificate]:
    """All certificates of a PEM text that can be parsed, expired ones too, each once."""
    found: list[x509.Certificate] = []
    for block in _BLOCK.findall(text.encode()):
        with suppress(ValueError):
            found.append(x509.load_pem_x509_certificate(block))
    return list(dict.fromkeys(found))


def pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM, with a line's end."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's, and no server's: self-signed server certificates often claim to be both."""
    try:
        may_sign = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return may_sign
    return False


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's DER form, in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()
