"""Validation and parsing of certificates: a table of named cases."""

import base64
import datetime as dt
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from shared.rotation.validate import Certificate, Requirements, UnreadableCertificate, parse, validate

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NAME = "cats.example.com"


@dataclass(frozen=True)
class Signer:
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes


def issue(
    name: str,
    *,
    by: Signer | None = None,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    sans: tuple[str, ...] = (NAME,),
    start: dt.datetime = NOW - DAY,
    end: dt.datetime = NOW + 90 * DAY,
) -> Signer:
    """A certificate that is signed by another one, or self-signed."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(san) for san in sans]), critical=False
        )
    return Signer(builder.sign(by.key if by else key, hashes.SHA256()), key)


ROOT = issue("root", sans=())
MIDDLE = issue("middle", by=ROOT, sans=())
LEAF = issue("leaf", by=MIDDLE)
RSA = rsa.generate_private_key(65537, 2048)
CHAIN = (MIDDLE.certificate, ROOT.certificate)
STRONG = issue("strong", by=ROOT, key=ec.generate_private_key(ec.SECP384R1())).certificate
REQUIREMENTS = Requirements([NAME])


def certificate(leaf: Signer, *issuers: x509.Certificate, key: Signer | None = None) -> Certificate:
    return Certificate(leaf.certificate, (key or leaf).key, issuers)


def leaf(**options: object) -> Certificate:
    return certificate(issue("leaf", by=MIDDLE, **options), *CHAIN)  # type: ignore[arg-type]


CASES: dict[str, tuple[Certificate, str]] = {
    "valid": (certificate(LEAF, *CHAIN), ""),
    "valid without the root": (certificate(LEAF, MIDDLE.certificate), ""),
    "valid, RSA": (leaf(key=RSA), ""),
    "wildcard": (leaf(sans=("*.example.com",)), ""),
    "wrong key": (certificate(LEAF, *CHAIN, key=ROOT), "the private key is not the certificate's"),
    "not yet valid": (leaf(start=NOW + DAY), "it is valid only from 2026-06-02 00:00 UTC on"),
    "expired": (leaf(end=NOW), "it expired on 2026-06-01 00:00 UTC"),
    "expires too soon": (leaf(end=NOW + 6 * DAY), "it expires on 2026-06-07 00:00 UTC, within 7 days"),
    "wrong name": (leaf(sans=("dogs.example.com",)), "it does not cover cats.example.com, but dogs.example.com"),
    "wildcard of another level": (leaf(sans=("*.com",)), "it does not cover cats.example.com, but *.com"),
    "no name": (leaf(sans=()), "it does not cover cats.example.com, but no name at all"),
    "missing issuer": (certificate(LEAF), "its issuer's certificate is missing from the chain"),
    "missing intermediate": (
        certificate(LEAF, ROOT.certificate),
        "the chain is out of order, or an intermediate certificate is missing from it",
    ),
    "chain out of order": (
        certificate(LEAF, ROOT.certificate, MIDDLE.certificate),
        "the chain is out of order, or an intermediate certificate is missing from it",
    ),
    "issuer of the same name": (
        certificate(LEAF, issue("middle", by=ROOT, sans=()).certificate),
        "a certificate of the chain was not signed by the next one",
    ),
    "self-signed": (certificate(issue("leaf")), "it is self-signed"),
    "weak key": (
        leaf(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - a weak key is the subject of the test
        "its key has a strength of 80 bits, and 112 are needed",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_result_of_each_case(case: str) -> None:
    validated, expected = CASES[case]

    assert validate(validated, REQUIREMENTS, NOW) == expected


def test_a_self_signed_certificate_can_be_allowed() -> None:
    assert validate(certificate(issue("leaf")), Requirements([NAME], allow_self_signed=True), NOW) == ""


def test_the_key_must_not_be_weaker_than_the_served_one() -> None:
    assert (
        validate(certificate(LEAF, *CHAIN), REQUIREMENTS, NOW, STRONG)
        == "its key has a strength of 128 bits, and 192 are needed"
    )
    assert validate(leaf(key=RSA), REQUIREMENTS, NOW, LEAF.certificate).endswith("112 bits, and 128 are needed")
    assert validate(certificate(LEAF, *CHAIN), REQUIREMENTS, NOW, LEAF.certificate) == ""


def test_an_ip_address_is_only_covered_by_an_ip_address() -> None:
    # As a DNS name, which some authorities issue and gRPC accepts.
    assert validate(leaf(sans=("127.0.0.1",)), Requirements(["127.0.0.1"]), NOW) == ""
    assert "not cover 10.0.0.1" in validate(certificate(LEAF, *CHAIN), Requirements(["10.0.0.1"]), NOW)


def test_the_minimum_validity_is_configurable() -> None:
    assert validate(leaf(end=NOW + 6 * DAY), Requirements([NAME], least_days=5), NOW) == ""


def pem(*parts: x509.Certificate | CertificateIssuerPrivateKeyTypes) -> bytes:
    out = b""
    for part in parts:
        if isinstance(part, x509.Certificate):
            out += part.public_bytes(serialization.Encoding.PEM)
        else:
            out += part.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
    return out


P12 = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, CHAIN, serialization.NoEncryption())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        pem(LEAF.key, LEAF.certificate, *CHAIN).decode(),
        pem(LEAF.certificate, *CHAIN, LEAF.key).decode(),
        base64.b64encode(P12).decode(),
    ],
    ids=["PEM, key first", "PEM, key last", "PKCS#12"],
)
def test_every_form_is_parsed(value: str) -> None:
    parsed = parse(value)

    assert parsed.leaf == LEAF.certificate
    assert parsed.chain_pem == pem(LEAF.certificate, *CHAIN)
    assert parsed.key_pem == pem(LEAF.key)
    assert validate(parsed, REQUIREMENTS, NOW) == ""
    assert "PRIVATE" not in repr(parsed)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"hello", "neither PEM nor PKCS#12"),
        (b"", "neither PEM nor PKCS#12"),
        (pem(LEAF.certificate), "no private key"),
        (pem(LEAF.key), "no certificate"),
        (pem(LEAF.certificate) + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be parsed"),
    ],
)
def test_an_unreadable_secret_is_an_error(value: bytes, message: str) -> None:
    with pytest.raises(UnreadableCertificate, match=message):
        parse(value.decode())
