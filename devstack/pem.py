"""Checks of certificates and private keys in PEM form; the messages contain the names that the caller gives them."""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization


def read_leaf(chain: bytes, name: str) -> x509.Certificate:
    """The first certificate of a chain.

    Raises:
        ValueError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise ValueError(f"{name} is not PEM") from None


def check_pair(chain: bytes, key: bytes, chain_name: str, key_name: str) -> x509.Certificate:
    """The first certificate of a chain, after a check that ``key`` is its private key.

    Raises:
        ValueError: it is not.
    """
    leaf = read_leaf(chain, chain_name)
    try:
        matches = serialization.load_pem_private_key(key, password=None).public_key() == leaf.public_key()
    except (ValueError, TypeError):
        raise ValueError(f"{key_name} is not PEM, or is encrypted") from None
    except UnsupportedAlgorithm:
        raise ValueError(f"{key_name} is of an unknown kind") from None
    if not matches:
        raise ValueError(f"{key_name} belongs to another certificate")
    return leaf


def read_pair(chain: Path, key: Path) -> x509.Certificate:
    """The first certificate in a file, after a check that the other file has its private key.

    Raises:
        ValueError: it has not. OSError: a file cannot be read.
    """
    return check_pair(chain.read_bytes(), key.read_bytes(), chain.name, key.name)


def check_issued(certificate: x509.Certificate, ca: x509.Certificate, name: str) -> None:
    """Check that a certificate was issued by the CA, and that neither has expired.

    Raises:
        ValueError: it is not so.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise ValueError(f"{name} was not issued by the CA of ca.pem") from None
    if min(certificate.not_valid_after_utc, ca.not_valid_after_utc) < dt.datetime.now(dt.UTC):
        raise ValueError(f"{name} has expired")
