"""What the files of the state folder must hold, each check with words for a person. They are read, never written."""

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Content:
    """What a file holds, or a part of one, by the name that a person knows it by."""

    name: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, file: Path) -> "Content":
        return cls(file.name, file.read_bytes())


def read_pair(certificate: Path, key: Path) -> x509.Certificate:
    """The certificate in a file, which the private key in another one belongs to.

    Raises:
        ValueError: it holds none, or the key is another's. OSError: a file cannot be read.
    """
    return check_pair(Content.of(certificate), Content.of(key))


def check_pair(chain: Content, key: Content) -> x509.Certificate:
    """The leaf of a PEM chain, which a private key belongs to.

    Raises:
        ValueError: there is none, or the key is another's.
    """
    found = check_certificate(chain)
    try:
        private = serialization.load_pem_private_key(key.data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{key.name} holds no private key") from None
    if private.public_key() != found.public_key():
        raise ValueError(f"{key.name} is not the key of {chain.name}")
    return found


def check_certificate(chain: Content) -> x509.Certificate:
    """The leaf of a PEM chain.

    Raises:
        ValueError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(chain.data)[0]
    except ValueError:
        raise ValueError(f"{chain.name} holds no certificate") from None


def check_issued(certificate: x509.Certificate, ca: x509.Certificate, name: str) -> None:
    """See that a certificate can serve: issued by the CA, and not expired.

    Raises:
        ValueError: it cannot.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise ValueError(f"{name} was not issued by the CA of ca.pem") from None
    if min(certificate.not_valid_after_utc, ca.not_valid_after_utc) < dt.datetime.now(dt.UTC):
        raise ValueError(f"{name} has expired")


def read_keys(file: Path) -> tuple[str, str]:
    """The primary and the secondary key of a service, in the form in which the control plane hands keys out.

    Raises:
        ValueError: the file holds something else. OSError: it cannot be read.
    """
    content = file.read_bytes()
    try:
        document = json.loads(content)
        primary, secondary = (document[name] for name in ("primaryKey", "secondaryKey"))
    except (ValueError, KeyError, TypeError, RecursionError):
        primary = secondary = None
    if not (isinstance(primary, str) and primary and isinstance(secondary, str) and secondary):
        raise ValueError(f"{file.name} does not hold a primaryKey and a secondaryKey")
    return primary, secondary
