"""Validates a certificate before anything is changed: whether a service may be given it, and if not, why."""

import datetime as dt
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from shared.credentials.pins import UNUSABLE, Roots, blocks, fingerprint, load, pem
from shared.errors import InvalidPin
from shared.rotation.presented import Presented, names, strength

_LEAST_STRENGTH = 112

# What gRPC's TLS can use in a handshake.
_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(1024, 8193)

# Signed with a key to see whether it is the certificate's.
_SIGNED = b"scoring-gateway"

# How many of a certificate's names a refusal lists.
_NAMES_SHOWN = 10


class UnreadableCertificate(ValueError):
    """A secret contains no certificate with its key; the message is the reason."""


type _Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificate:
    """A leaf certificate with its private key, and the chain of its issuers."""

    leaf: x509.Certificate
    key: _Key
    issuers: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf's DER form, in lower-case hexadecimal."""
        return fingerprint(self.leaf)

    @property
    def has_own_key(self) -> bool:
        """Whether the private key is the leaf's."""
        return _is_pair(self.key, self.leaf.public_key())

    @property
    def roots(self) -> Roots:
        """The leaf as a root: its private key is at hand, so it is nobody else's.

        Raises:
            InvalidPin: the key is not the leaf's own.
        """
        if not self.has_own_key:
            raise InvalidPin("The certificate in Key Vault cannot be trusted: the private key is not its own.")
        return Roots(pem(self.leaf).encode())

    @property
    def chain_pem(self) -> bytes:
        """The leaf, followed by its issuers."""
        return "".join(map(pem, (self.leaf, *self.issuers))).encode()

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


def parse(text: str) -> Certificate:
    """The certificate with its key in a PEM text, in any order; its chain is put in order.

    Raises:
        UnreadableCertificate: it lacks the key or the certificate, or they cannot be used.
    """
    certificates = _certificates(text)
    key = _private_key(text)
    own = _public_bytes(key.public_key())
    leaf = next((one for one in certificates if _public_bytes(one.public_key()) == own), certificates[0])
    return Certificate(leaf, key, tuple(_ordered(leaf, certificates)))


def validate(
    certificate: Certificate, requirements: Requirements, now: dt.datetime, served: Presented | None = None
) -> str:
    """Why the certificate must not be used, in words; empty where it may.

    Args:
        certificate: the certificate to validate.
        requirements: what it must satisfy.
        now: with a time zone.
        served: what the service presents now, whose key must not be stronger; None where that is not known.
    """
    return next(_faults(certificate, requirements, now, served), "")


def _faults(
    certificate: Certificate, requirements: Requirements, now: dt.datetime, served: Presented | None
) -> Iterator[str]:
    leaf = certificate.leaf
    if not certificate.has_own_key:
        yield "the private key is not the certificate's"
    yield from _time_faults(leaf, requirements, now)
    covered = names(leaf)
    for name in requirements.names:
        if not any(_covers(pattern, name) for pattern in covered):
            others = f" and {len(covered) - _NAMES_SHOWN} more" if len(covered) > _NAMES_SHOWN else ""
            yield f"it does not cover {name}, but {', '.join(covered[:_NAMES_SHOWN]) or 'no name at all'}{others}"
    yield from _chain_faults(certificate, requirements, now)
    bits = strength(leaf.public_key())
    needed = max(_LEAST_STRENGTH, 0 if served is None else served.strength)
    if bits < needed:
        yield f"its key has a strength of {bits} bits, and {needed} are needed"


def _time_faults(leaf: x509.Certificate, requirements: Requirements, now: dt.datetime) -> Iterator[str]:
    if now < leaf.not_valid_before_utc:
        yield f"it is valid only from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    if now >= leaf.not_valid_after_utc:
        yield f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    elif leaf.not_valid_after_utc - now < dt.timedelta(days=requirements.least_days):
        yield f"it expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, within {requirements.least_days:g} days"


def _chain_faults(certificate: Certificate, requirements: Requirements, now: dt.datetime) -> Iterator[str]:
    """The chain must contain at least the leaf's own issuer, and no gap; each certificate is signed by the next."""
    leaf = certificate.leaf
    if is_signed_by(leaf, leaf):
        if not requirements.allow_self_signed:
            yield "it is self-signed"
        return
    if not certificate.issuers:
        namesake = ", which has the same name as itself," if leaf.subject == leaf.issuer else ""
        yield f"its issuer's certificate{namesake} is missing from the chain"
    for child, issuer in zip((leaf, *certificate.issuers), certificate.issuers, strict=False):
        if child.issuer != issuer.subject:
            yield "an intermediate certificate is missing from the chain"
            return
        if not is_signed_by(child, issuer):
            yield "a certificate of the chain was not signed by the one that has its issuer's name"
            return
        if now >= issuer.not_valid_after_utc:
            yield f"a certificate of its chain expired on {issuer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if now < issuer.not_valid_before_utc:
            yield f"a certificate of its chain is valid only from {issuer.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"


def _ordered(leaf: x509.Certificate, certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The issuers of a leaf, each the signer of the one before; without duplicates, and without what is not needed.

    Of a chain with a gap the rest follows, so that the gap is found.
    """
    rest = [one for one in dict.fromkeys(certificates) if one != leaf]
    chain = [leaf]
    while not is_signed_by(chain[-1], chain[-1]):
        issuer = next((one for one in rest if is_signed_by(chain[-1], one)), None)
        if issuer is None:
            wanted = chain[-1].issuer
            return [*chain[1:], *sorted(rest, key=lambda one: one.subject != wanted)]
        rest.remove(issuer)
        chain.append(issuer)
    return chain[1:]


def is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether a certificate names another one as its issuer, and has its signature."""
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNUSABLE):
        return False
    return True


def _certificates(text: str) -> list[x509.Certificate]:
    found = blocks(text)
    if not found:
        raise UnreadableCertificate("it contains no certificate")
    try:
        return [load(block) for block in found]
    except UNUSABLE:
        raise UnreadableCertificate("it contains a certificate that cannot be parsed") from None


def _private_key(text: str) -> _Key:
    marker = text.find("PRIVATE KEY-----")
    if marker < 0:
        raise UnreadableCertificate("it contains no private key")
    try:
        # The check of RSA keys takes a second, with the interpreter locked; _is_pair() is as good.
        key = serialization.load_pem_private_key(
            text[text.rindex("-----BEGIN", 0, marker) :].encode(), password=None, unsafe_skip_rsa_key_validation=True
        )
    except UNUSABLE:
        raise UnreadableCertificate("its private key cannot be parsed, is encrypted, or of an unknown kind") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size in _RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise UnreadableCertificate(
        f"its key is {_kind(key)}, not of a kind that gRPC can use: RSA of 1024 to 8192 bits, or P-256 or P-384"
    )


def _kind(key: object) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"one on the curve {key.curve.name}"
    return type(key).__name__.lstrip("_").removesuffix("PrivateKey") or "of another kind"


def _is_pair(key: _Key, public: PublicKeyTypes) -> bool:
    """Whether a signature of the private key is one of the public key."""
    try:
        if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = key.sign(_SIGNED, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, _SIGNED, padding.PKCS1v15(), hashes.SHA256())
            return True
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(key.sign(_SIGNED, ec.ECDSA(hashes.SHA256())), _SIGNED, ec.ECDSA(hashes.SHA256()))
            return True
    except (InvalidSignature, *UNUSABLE):
        pass
    return False


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


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
