"""Pinned certificates: parsed from a secret's PEM text, and checked before gRPC gets them.

gRPC stops at the first PEM block that it cannot parse and drops all that follow, so every block is parsed here first,
and only valid ones are passed on.
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
    """The certificates that a service may present, or that may have issued the one that it presents.

    ``bundle`` is PEM, ready for gRPC; ``fingerprints`` are SHA-256 in hexadecimal, in the bundle's order; ``rejected``
    has the reasons for which blocks of the secret were left out.
    """

    bundle: bytes
    fingerprints: tuple[str, ...]
    rejected: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Pins {', '.join(fingerprint[:16] for fingerprint in self.fingerprints)}>"


def read_pins(text: str, secret: str, now: dt.datetime) -> Pins:
    """Read the certificates in a secret's value; a private key beside them is ignored.

    Expired certificates are left out (a handshake would refuse them), unless there are no others: then they stay, so
    that the handshake's error names the cause.

    Args:
        text: PEM, one or more certificates.
        secret: the secret's name, for the error.
        now: with a time zone.

    Raises:
        InvalidPin: no certificate in it can be parsed.
    """
    valid: list[x509.Certificate] = []
    rejected: list[str] = []
    for number, block in enumerate(_BLOCK.findall(text.encode()), 1):
        try:
            valid.append(x509.load_pem_x509_certificate(block))
        except ValueError:
            rejected.append(f"certificate {number} in secret {secret!r} cannot be parsed")
    if not valid:
        reason = "; ".join(rejected) if rejected else f"secret {secret!r} contains no PEM certificate"
        raise InvalidPin(f"{reason[0].upper()}{reason[1:]}.", secret=secret)
    current = [certificate for certificate in valid if certificate.not_valid_after_utc > now]
    rejected += [
        f"pin {fingerprint(certificate)[:16]} in {secret!r} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        for certificate in valid
        if certificate not in current
    ]
    chosen = list(dict.fromkeys(current or valid))
    return Pins(
        bundle=b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chosen),
        fingerprints=tuple(fingerprint(certificate) for certificate in chosen),
        rejected=tuple(rejected),
    )


def split(text: str) -> list[x509.Certificate]:
    """All certificates in a PEM text that can be parsed, expired ones too, each once."""
    found: list[x509.Certificate] = []
    for block in _BLOCK.findall(text.encode()):
        with suppress(ValueError):
            found.append(x509.load_pem_x509_certificate(block))
    return list(dict.fromkeys(found))


def pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM, with a line end."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's and not a server's: self-signed server certificates often claim to be both."""
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
