"""Makes the certificates that the command puts into Key Vault: sound ones, and some with something wrong."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devstack.authority import LOOPBACK_NAMES, Authority, Issued

OTHER_NAMES = ("elsewhere.example",)


class Kind(Enum):
    """What is wrong with a certificate, if anything."""

    SOUND = auto()
    WRONG_KEY = auto()
    WRONG_NAME = auto()
    SELF_SIGNED = auto()


def make(
    authority: Authority, valid_for: dt.timedelta, kind: Kind = Kind.SOUND, names: Sequence[str] = LOOPBACK_NAMES
) -> Issued:
    """Issue a certificate of a kind; ``names`` are what a sound one is for."""
    match kind:
        case Kind.WRONG_KEY:
            return replace(authority.issue(names, valid_for=valid_for), key=authority.issue().key)
        case Kind.WRONG_NAME:
            return authority.issue(OTHER_NAMES, valid_for=valid_for)
        case Kind.SELF_SIGNED:
            return _self_signed(authority.issue(names, valid_for=valid_for))
        case Kind.SOUND:
            return authority.issue(names, valid_for=valid_for)


def _self_signed(model: Issued) -> Issued:
    """A certificate like another one, with its key, but signed by that very key."""
    leaf = x509.load_pem_x509_certificate(model.certificate)
    key = serialization.load_pem_private_key(model.key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the development CA issues certificates with elliptic-curve keys")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    me = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Signed by itself")])
    signed = (
        x509.CertificateBuilder()
        .issuer_name(me)
        .subject_name(me)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(leaf.not_valid_before_utc)
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(names.value, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    return Issued(certificate=signed, key=model.key, chain=signed)
