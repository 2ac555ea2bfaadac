"""Certificates that no public authority issues: of other keys and usages, self-signed, with names that collide."""

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

from devstack.authority import Issued

_SIGNS = ("digital_signature", "key_cert_sign", "crl_sign")
_USAGES = (*_SIGNS, "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")


def self_signed(
    key: CertificateIssuerPrivateKeyTypes | None = None,
    *,
    usages: tuple[str, ...] = (),
    subject: str = "cats",
    days: float = 90,
    address: str = "127.0.0.1",
) -> Issued:
    """A server's certificate that its own key signed, without a key identifier; keyUsage only where it is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = dt.datetime.now(dt.UTC)
    number = x509.random_serial_number()
    made = x509.CertificateBuilder(
        name, name, key.public_key(), number, now - dt.timedelta(days=1), now + dt.timedelta(days)
    ).add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
    if usages:
        flags = {usage: usage in usages for usage in _USAGES}
        made = made.add_extension(x509.KeyUsage(**flags, encipher_only=False, decipher_only=False), critical=True)
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    signed = made.sign(key, None if is_edwards else hashes.SHA256())
    pem = signed.public_bytes(serialization.Encoding.PEM)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Issued(certificate=pem, key=key.private_bytes(*form), chain=pem)
