"""Validation and parsing of certificates: a table of named cases."""

import datetime as dt
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from shared.errors import InvalidPin
from shared.rotation.presented import Presented, names, strength
from shared.rotation.stored import to_pem
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


def certificate(leaf: Signer, *issuers: x509.Certificate) -> Certificate:
    assert isinstance(leaf.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return Certificate(leaf.certificate, leaf.key, issuers)


def presented(found: x509.Certificate) -> Presented:
    return Presented.of(found.public_bytes(serialization.Encoding.DER))


def leaf(**options: object) -> Certificate:
    return certificate(issue("leaf", by=MIDDLE, **options), *CHAIN)  # type: ignore[arg-type]


LOWER = issue("lower", by=MIDDLE, sans=())
PAST = issue("past", by=ROOT, sans=(), end=NOW)
FUTURE = issue("future", by=ROOT, sans=(), start=NOW + DAY)
OLD_ROOT = issue("old root", sans=(), end=NOW)
UNDER_OLD_ROOT = issue("under the old root", by=OLD_ROOT, sans=())


def parsed(leaf: Signer, *issuers: Signer) -> Certificate:
    """As Key Vault has them."""
    return parse(pem(leaf.key, leaf.certificate, *(one.certificate for one in issuers)).decode())


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


WRONG_KEY = Certificate(LEAF.certificate, ec.generate_private_key(ec.SECP256R1()), CHAIN)

CASES: dict[str, tuple[Certificate, str]] = {
    "valid": (certificate(LEAF, *CHAIN), ""),
    "valid without the root": (certificate(LEAF, MIDDLE.certificate), ""),
    "valid, RSA": (leaf(key=RSA), ""),
    "wildcard": (leaf(sans=("*.example.com",)), ""),
    "wrong key": (WRONG_KEY, "the private key is not the certificate's"),
    "not yet valid": (leaf(start=NOW + DAY), "it is valid only from 2026-06-02 00:00 UTC on"),
    "expired": (leaf(end=NOW), "it expired on 2026-06-01 00:00 UTC"),
    "expires too soon": (leaf(end=NOW + 6 * DAY), "it expires on 2026-06-07 00:00 UTC, within 7 days"),
    "wrong name": (leaf(sans=("dogs.example.com",)), "it does not cover cats.example.com, but dogs.example.com"),
    "wildcard of another level": (leaf(sans=("*.com",)), "it does not cover cats.example.com, but *.com"),
    "no name": (leaf(sans=()), "it does not cover cats.example.com, but no name at all"),
    "missing issuer": (certificate(LEAF), "its issuer's certificate is missing from the chain"),
    "missing intermediate": (parsed(LEAF, ROOT), "an intermediate certificate is missing from the chain"),
    "missing intermediate above the first": (
        parsed(issue("leaf", by=LOWER), LOWER, ROOT),
        "an intermediate certificate is missing from the chain",
    ),
    "issuer of the same name": (
        parsed(LEAF, issue("middle", by=ROOT, sans=())),
        "a certificate of the chain was not signed by the one that has its issuer's name",
    ),
    "issuer with the name of the certificate": (parsed(issue("root", by=ROOT), ROOT), ""),
    "issuer with the name of the certificate, missing": (
        parsed(issue("root", by=ROOT)),
        "its issuer's certificate, which has the same name as itself, is missing from the chain",
    ),
    "expired intermediate": (
        parsed(issue("leaf", by=PAST), PAST, ROOT),
        "a certificate of its chain expired on 2026-06-01 00:00 UTC",
    ),
    "expired root": (
        parsed(issue("leaf", by=UNDER_OLD_ROOT), UNDER_OLD_ROOT, OLD_ROOT),
        "a certificate of its chain expired on 2026-06-01 00:00 UTC",
    ),
    "intermediate of the future": (
        parsed(issue("leaf", by=FUTURE), FUTURE, ROOT),
        "a certificate of its chain is valid only from 2026-06-02 00:00 UTC on",
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
        validate(certificate(LEAF, *CHAIN), REQUIREMENTS, NOW, presented(STRONG))
        == "its key has a strength of 128 bits, and 192 are needed"
    )
    assert validate(leaf(key=RSA), REQUIREMENTS, NOW, presented(LEAF.certificate)).endswith(
        "112 bits, and 128 are needed"
    )
    assert validate(certificate(LEAF, *CHAIN), REQUIREMENTS, NOW, presented(LEAF.certificate)) == ""


def test_an_ip_address_is_only_covered_by_an_ip_address() -> None:
    # As a DNS name, which some authorities issue and gRPC accepts.
    assert validate(leaf(sans=("127.0.0.1",)), Requirements(["127.0.0.1"]), NOW) == ""
    assert "not cover 10.0.0.1" in validate(certificate(LEAF, *CHAIN), Requirements(["10.0.0.1"]), NOW)


def test_the_minimum_validity_is_configurable() -> None:
    assert validate(leaf(end=NOW + 6 * DAY), Requirements([NAME], least_days=5), NOW) == ""


P12 = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, CHAIN, serialization.NoEncryption())  # type: ignore[arg-type]


P12_ROOT_FIRST = pkcs12.serialize_key_and_certificates(
    b"x",
    LEAF.key,  # type: ignore[arg-type]
    LEAF.certificate,
    CHAIN[::-1],
    serialization.NoEncryption(),
)


@pytest.mark.parametrize(
    "value",
    [
        pem(LEAF.key, LEAF.certificate, *CHAIN).decode(),
        pem(LEAF.certificate, *CHAIN, LEAF.key).decode(),
        pem(*reversed(CHAIN), LEAF.certificate, LEAF.key).decode(),
        pem(*CHAIN, *CHAIN, LEAF.certificate, LEAF.certificate, STRONG, LEAF.key, *CHAIN).decode(),
        to_pem(P12),
        to_pem(P12_ROOT_FIRST),
    ],
    ids=["PEM, key first", "PEM, key last", "root first", "with duplicates", "PKCS#12", "PKCS#12, root first"],
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
        (pem(LEAF.certificate), "no private key"),
        (pem(LEAF.key), "no certificate"),
        (pem(LEAF.certificate) + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be parsed"),
    ],
)
def test_an_unreadable_secret_is_an_error(value: bytes, message: str) -> None:
    with pytest.raises(UnreadableCertificate, match=message):
        parse(value.decode())


def test_a_certificate_without_its_own_key_is_no_root() -> None:
    assert certificate(LEAF, *CHAIN).roots.bundle == pem(LEAF.certificate)
    for stolen in (WRONG_KEY, parse(pem(LEAF.certificate, RSA).decode())):
        with pytest.raises(InvalidPin, match="the private key is not its own"):
            _ = stolen.roots


def extended(extension: x509.ExtensionType, *, key: CertificateIssuerPrivateKeyTypes | None = None) -> Signer:
    """A self-signed certificate with one extension."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + 90 * DAY).add_extension(
        extension, critical=False
    )
    return Signer(builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key)


MALFORMED_SAN = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x84\xff\xff\xff\xff")
SAN = x509.SubjectAlternativeName([x509.DNSName(NAME)])


@pytest.mark.parametrize(
    ("unusable", "message"),
    [
        (extended(MALFORMED_SAN), "a certificate that cannot be parsed"),
        (
            extended(SAN, key=ed25519.Ed25519PrivateKey.generate()),
            "its key is Ed25519, not of a kind that gRPC can use",
        ),
        (extended(SAN, key=ec.generate_private_key(ec.SECP521R1())), "one on the curve secp521r1, not of a kind"),
        (extended(SAN, key=ec.generate_private_key(ec.BrainpoolP256R1())), "one on the curve brainpoolP256r1, not"),
    ],
    ids=["malformed SAN", "Ed25519", "P-521", "Brainpool"],
)
def test_a_certificate_that_no_connection_could_use_is_refused_with_its_cause(unusable: Signer, message: str) -> None:
    with pytest.raises(UnreadableCertificate, match=message):
        parse(pem(unusable.certificate, unusable.key).decode())


def test_what_is_presented_can_be_malformed_and_holds_no_certificate() -> None:
    seen = presented(extended(MALFORMED_SAN).certificate)

    assert (seen.names, seen.strength) == ((), 128)
    assert not [value for value in vars(seen).values() if isinstance(value, x509.Certificate | bytes)]
    with pytest.raises(ValueError, match="parsing"):
        Presented.of(b"no certificate")


def test_names_are_printable_and_bounded() -> None:
    hostile = x509.SubjectAlternativeName([x509.DNSName("a\n2026 forged\x1b[2J" + "x" * 1000)] * 300)

    found = names(extended(hostile).certificate)

    assert len(found) == 100
    assert all(one.isprintable() and len(one) <= 253 for one in found)
    assert len(validate(leaf(sans=tuple(f"{n}.com" for n in range(999))), REQUIREMENTS, NOW)) < 300


# NIST SP 800-57 part 1, table 2, and each size just below.
RSA_STRENGTHS = {1024: 80, 2047: 80, 2048: 112, 3071: 112, 3072: 128, 7679: 128, 7680: 192, 15359: 192, 15360: 256}


@pytest.mark.parametrize(("size", "bits"), RSA_STRENGTHS.items())
def test_the_strength_of_rsa_keys(size: int, bits: int) -> None:
    # Of that many bits, without the minutes that a real one takes.
    assert strength(rsa.RSAPublicNumbers(65537, 2**size - 1).public_key()) == bits


def test_the_strength_of_other_keys() -> None:
    curves = {ec.SECP224R1(): 112, ec.SECP256R1(): 128, ec.SECP384R1(): 192, ec.SECP521R1(): 260}
    for curve, bits in curves.items():
        assert strength(ec.generate_private_key(curve).public_key()) == bits
    assert strength(ed25519.Ed25519PrivateKey.generate().public_key()) == 128
    assert strength(ed448.Ed448PrivateKey.generate().public_key()) == 224
    assert strength(x25519.X25519PrivateKey.generate().public_key()) == 0, "it signs nothing"


def test_what_a_message_shows_of_a_certificate() -> None:
    found = certificate(LEAF, *CHAIN)
    assert repr(found) == f"<Certificate {found.fingerprint[:16]}>"

    fault = validate(leaf(sans=tuple(f"{number}.com" for number in range(12))), REQUIREMENTS, NOW)
    shown = ", ".join(f"{number}.com" for number in range(10))
    assert fault == f"it does not cover cats.example.com, but {shown} and 2 more"


def test_of_certificates_without_their_key_the_first_is_the_leaf() -> None:
    text = pem(ec.generate_private_key(ec.SECP256R1()), LEAF.certificate, *CHAIN).decode()

    assert parse(text).leaf == LEAF.certificate
    assert not parse(text).has_own_key
