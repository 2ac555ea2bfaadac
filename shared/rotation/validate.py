"""Validates a certificate before anything is changed: whether a service may be given it, and if not, why."""

import base64
import datetime as dt
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from shared.credentials.pins import fingerprint

# Security strengths of keys in bits (NIST SP 800-57 part 1, table 2).
_RSA_STRENGTHS = ((15360, 256), (7680, 192), (3072, 128), (2048, 112))
_LEAST_STRENGTH = 112


class UnreadableCertificate(ValueError):
    """A secret contains no certificate with its key; the message is the reason."""


@dataclass(frozen=True)
class Certificate:
    """A leaf certificate with its private key, and the chain of its issuers."""

    leaf: x509.Certificate
    key: PrivateKeyTypes
    issuers: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER form, in lower-case hexadecimal."""
        return fingerprint(self.leaf)

    @property
    def chain_pem(self) -> bytes:
        """The leaf, followed by its issuers."""
        chain = (self.leaf, *self.issuers)
        return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return f"<Certificate {self.fingerprint[:16]}>"


@dataclass(frozen=True)
class Requirements:
    """What a certificate must satisfy: the names to cover, the days to stay valid, whether it may be self-signed."""

    names: Sequence[str]
    least_days: float = 7
    allow_self_signed: bool = False


def parse(secret: str) -> Certificate:
    """The certificate with its key in a secret: PEM in any order, or PKCS#12 without a password, as is or in base64.

    Raises:
        UnreadableCertificate: it is neither, or lacks the key or the certificate.
    """
    if "-----BEGIN" in secret:
        key, certificates = _parse_pem(secret.encode())
    else:
        key, certificates = _parse_pkcs12(_from_base64(secret))
    leaf = next(
        (one for one in certificates if _public(one.public_key()) == _public(key.public_key())), certificates[0]
    )
    return Certificate(leaf, key, tuple(one for one in certificates if one is not leaf))


def validate(
    certificate: Certificate, requirements: Requirements, now: dt.datetime, served: x509.Certificate | None = None
) -> str:
    """Why the certificate must not be used, in words; empty where it may.

    Args:
        certificate: the certificate to validate.
        requirements: what it must satisfy.
        now: with a time zone.
        served: what the service presents now, whose key must not be stronger; None where that is not known.
    """
    return next(_faults(certificate, requirements, now, served), "")


def names(leaf: x509.Certificate) -> list[str]:
    """The DNS names and IP addresses in a certificate's subjectAltName (SAN)."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _faults(
    certificate: Certificate, requirements: Requirements, now: dt.datetime, served: x509.Certificate | None
) -> Iterator[str]:
    leaf = certificate.leaf
    if _public(leaf.public_key()) != _public(certificate.key.public_key()):
        yield "the private key is not the certificate's"
    yield from _time_faults(leaf, requirements, now)
    covered = names(leaf)
    for name in requirements.names:
        if not any(_covers(pattern, name) for pattern in covered):
            yield f"it does not cover {name}, but {', '.join(covered) or 'no name at all'}"
    yield from _chain_faults(certificate, requirements, now)
    strength, needed = _strength(leaf.public_key()), _LEAST_STRENGTH
    if served is not None:
        needed = max(needed, _strength(served.public_key()))
    if strength < needed:
        yield f"its key has a strength of {strength} bits, and {needed} are needed"


def _time_faults(leaf: x509.Certificate, requirements: Requirements, now: dt.datetime) -> Iterator[str]:
    if now < leaf.not_valid_before_utc:
        yield f"it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    if now >= leaf.not_valid_after_utc:
        yield f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    elif leaf.not_valid_after_utc - now < dt.timedelta(days=requirements.least_days):
        yield f"it expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, within {requirements.least_days:g} days"


def _chain_faults(certificate: Certificate, requirements: Requirements, now: dt.datetime) -> Iterator[str]:
    """The chain must be in order, each signed by the next, and contain at least the leaf's own issuer."""
    leaf = certificate.leaf
    if leaf.subject == leaf.issuer:
        if not requirements.allow_self_signed:
            yield "it is self-signed"
        return
    if not certificate.issuers:
        yield "its issuer's certificate is missing from the chain"
    for child, issuer in zip((leaf, *certificate.issuers), certificate.issuers, strict=False):
        if child.issuer != issuer.subject:
            yield "the chain is out of order, or an intermediate certificate is missing from it"
            return
        if not is_signed_by(child, issuer):
            yield "a certificate of the chain was not signed by the next one"
            return
        if now >= issuer.not_valid_after_utc:
            yield "a certificate of the chain has expired"


def is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether a certificate names another one as its issuer, and has its signature."""
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _parse_pem(value: bytes) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        certificates = x509.load_pem_x509_certificates(value)
    except ValueError:
        raise UnreadableCertificate("it contains no certificate that can be parsed") from None
    if b"PRIVATE KEY-----" not in value:
        raise UnreadableCertificate("it contains no private key")
    start = value.rindex(b"-----BEGIN", 0, value.index(b"PRIVATE KEY-----"))
    try:
        return serialization.load_pem_private_key(value[start:], password=None), certificates
    except (ValueError, TypeError):
        raise UnreadableCertificate("its private key cannot be parsed, or is encrypted") from None


def _from_base64(value: str) -> bytes:
    # Key Vault returns its own certificates in this form.
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return value.encode()


def _parse_pkcs12(value: bytes) -> tuple[PrivateKeyTypes, list[x509.Certificate]]:
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(value, None)
    except ValueError:
        raise UnreadableCertificate("it is neither PEM nor PKCS#12 without a password") from None
    if key is None:
        raise UnreadableCertificate("it contains no private key")
    certificates = [leaf, *others] if leaf is not None else others
    if not certificates:
        raise UnreadableCertificate("it contains no certificate")
    return key, certificates


def _covers(pattern: str, name: str) -> bool:
    """RFC 9525, section 6.3: a wildcard stands for the whole left-most label, and for one only."""
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(pattern)
    except ValueError:
        pass
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if pattern.startswith("*."):
        return pattern[1:] == name[name.find(".") :] and "." in name
    return pattern == name


def _strength(key: PublicKeyTypes) -> int:
    if isinstance(key, rsa.RSAPublicKey):
        return next((bits for size, bits in _RSA_STRENGTHS if key.key_size >= size), 80)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size // 2
    return 0


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
