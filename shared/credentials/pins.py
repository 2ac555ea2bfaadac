"""Certificates that a connection which carries a key is verified with: parsed and checked before gRPC gets them.

gRPC stops at the first PEM block that it cannot parse and drops all that follow, so every block is parsed here first,
and only valid ones are passed on.
"""

import datetime as dt
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from shared.errors import InvalidPin

# A block whose end is missing ends where the next one begins.
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----((?:(?!-----BEGIN ).)*)", re.DOTALL)
_END = "-----END CERTIFICATE-----"

# Key Vault's secrets have 25 kB at most.
LONGEST = 100_000

# What cryptography raises for a certificate that it cannot use; parts are parsed only when they are accessed.
UNUSABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True)
class Roots:
    """What a connection that carries a key is verified with; ``bundle`` is PEM, ready for gRPC.

    There are three kinds, and no other certificate becomes one: the pins in Key Vault (:class:`Pins`), a named store of
    public authorities (:func:`shared.credentials.trust.public_roots`), and a certificate whose private key is at hand
    (``roots`` of :class:`shared.rotation.validate.Certificate`). What a server presents in a handshake is a
    :class:`shared.rotation.presented.Presented`, which holds no certificate to make roots of.
    """

    bundle: bytes


@dataclass(frozen=True)
class ClientCertificate:
    """What a connection presents for mutual TLS: the leaf with its issuers, and its private key, as PEM."""

    chain: bytes
    key: bytes = field(repr=False)
    fingerprint: str
    not_after: dt.datetime


@dataclass(frozen=True)
class Pins(Roots):
    """The certificates that a service may present, or that may have issued the one that it presents.

    ``fingerprints`` are SHA-256 in hexadecimal, in the bundle's order; ``rejected`` has the reasons for which blocks of
    the secret were left out. ``presents`` is what the connection itself presents: with another one, as with other pins,
    a new connection is made beside the old. ``not_after`` is when the last of them expires, where that is known.
    """

    fingerprints: tuple[str, ...]
    rejected: tuple[str, ...] = ()
    presents: ClientCertificate | None = None
    not_after: dt.datetime | None = None

    def without(self, others: "Pins") -> tuple[str, ...]:
        """The fingerprints that ``others`` lack."""
        return tuple(one for one in self.fingerprints if one not in others.fingerprints)

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
        InvalidPin: no certificate in it can be used.
    """
    valid: list[x509.Certificate] = []
    rejected: list[str] = []
    for number, block in enumerate(blocks(text), 1):
        if _END not in block:
            rejected.append(f"certificate {number} in secret {secret!r} is cut short: its END line is missing")
            continue
        try:
            valid.append(load(block))
        except UNUSABLE:
            rejected.append(f"certificate {number} in secret {secret!r} cannot be parsed")
    if not valid:
        reason = "; ".join(rejected[:5]) if rejected else f"secret {secret!r} contains no PEM certificate"
        raise InvalidPin(f"{reason[0].upper()}{reason[1:]}.", secret=secret)
    current = [certificate for certificate in valid if certificate.not_valid_after_utc > now]
    rejected += [
        f"pin {fingerprint(certificate)[:16]} in {secret!r} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        for certificate in valid
        if certificate not in current
    ]
    chosen = list(dict.fromkeys(current or valid))
    return Pins(
        bundle="".join(map(pem, chosen)).encode(),
        fingerprints=tuple(fingerprint(certificate) for certificate in chosen),
        rejected=tuple(rejected),
        not_after=max(certificate.not_valid_after_utc for certificate in chosen),
    )


def split(text: str) -> list[x509.Certificate]:
    """All certificates in a PEM text that can be used, expired ones too, each once."""
    found: list[x509.Certificate] = []
    for block in blocks(text):
        try:
            found.append(load(block))
        except UNUSABLE:
            continue
    return list(dict.fromkeys(found))


def blocks(text: str) -> list[str]:
    """The PEM blocks of certificates, including those that are cut short."""
    return [found[0] for found in _BLOCK.finditer(text[:LONGEST])]


def load(block: str) -> x509.Certificate:
    """The certificate in a PEM block, every part of which can be read.

    Raises:
        ValueError, and the others of ``UNUSABLE``: that is not so.
    """
    certificate = x509.load_pem_x509_certificate(block.encode())
    _ = (certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer)
    _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    return certificate


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
