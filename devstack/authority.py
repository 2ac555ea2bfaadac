"""A development certificate authority and the leaf certificates that it issues."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

# Certificates are valid from a little earlier on, as public authorities do, for clocks that are behind.
_BACKDATE = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Issued:
    """A leaf certificate and its private key, both PEM; ``chain`` is the leaf followed by its issuer."""

    certificate: bytes
    key: bytes
    chain: bytes

    def __repr__(self) -> str:
        return f"<Issued {fingerprint(self.certificate)[:16]}>"


@dataclass(frozen=True)
class Authority:
    """A root certificate that signs leaf certificates for development and tests."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str = "Scoring Gateway development CA") -> Self:
        """Make a new root, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage = x509.KeyUsage(
            **dict.fromkeys(("key_cert_sign", "crl_sign", "digital_signature"), True),
            **dict.fromkeys((*unused, "encipher_only", "decipher_only"), False),
        )
        builder = (
            _builder(subject, subject, key.public_key(), dt.timedelta(days=3650), None)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the root that :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is none.
            ValueError: a file contains something else.
        """
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("ca.key contains no elliptic-curve key")
        return cls(certificate, key)

    def save(self, folder: Path) -> None:
        """Write ``ca.pem`` and, readable by its owner alone, ``ca.key``."""
        key_file = folder / "ca.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(_key_pem(self.key))
        (folder / "ca.pem").write_bytes(self.pem)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        names: Sequence[str] = LOOPBACK_NAMES,
        *,
        valid_for: dt.timedelta = dt.timedelta(days=90),
        not_before: dt.datetime | None = None,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> Issued:
        """Issue a leaf certificate for ``names`` (DNS names and IP addresses), for use by a server or for ``purpose``.

        ``not_before`` is five minutes ago by default; ``valid_for`` counts from it, so a negative one, or one in the
        past, gives an expired certificate.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        unsigned = _leaf(names, self.certificate.subject, key, valid_for, not_before, purpose).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        leaf = unsigned.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Issued(certificate=leaf, key=_key_pem(key), chain=leaf + self.pem)


def issue_self_signed(names: Sequence[str], *, valid_for: dt.timedelta) -> Issued:
    """Issue a server's certificate that is signed with its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    unsigned = _leaf(names, _subject(names[0]), key, valid_for, None)
    leaf = unsigned.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return Issued(certificate=leaf, key=_key_pem(key), chain=leaf)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the DER form of the first certificate in a PEM, in lower-case hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def _leaf(
    names: Sequence[str],
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    valid_for: dt.timedelta,
    not_before: dt.datetime | None,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> x509.CertificateBuilder:
    return (
        _builder(issuer, _subject(names[0]), key.public_key(), valid_for, not_before)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    valid_for: dt.timedelta,
    not_before: dt.datetime | None,
) -> x509.CertificateBuilder:
    start = not_before or dt.datetime.now(dt.UTC)
    end = start + valid_for
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(start if not_before else start - _BACKDATE, end - _BACKDATE))
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
