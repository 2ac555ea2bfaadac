"""What ``certificate show`` prints of the certificates found: a table of named cases, at a fixed time."""

import datetime as dt

import pytest
from cryptography import x509

from devstack.authority import Authority, Issued
from devstack.certificate.view import Secret, View, fingerprint, verdict, view
from shared.rotation.validate import Requirements

NOW = dt.datetime(2030, 5, 4, 12, 0, tzinfo=dt.UTC)
REQUIREMENTS = Requirements(["127.0.0.1"], 7)
AUTHORITY = Authority.create()


def issue(days: float) -> Issued:
    return AUTHORITY.issue(not_before=NOW - dt.timedelta(days=10), valid_for=dt.timedelta(days=days + 10))


def leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)


def desired(issued: Issued | None) -> Secret:
    return Secret("imagenet-certificate", (issued.key + issued.chain).decode() if issued else None)


def pins(*pinned: Issued | bytes) -> Secret:
    pem = b"".join(pin if isinstance(pin, bytes) else pin.certificate for pin in pinned)
    return Secret("imagenet-pins", pem.decode() or None)


def found(certificate: Secret, pinned: Secret, served: Issued | None) -> View:
    return view(certificate, pinned, leaf(served) if served else None, REQUIREMENTS, NOW)


OLD, NEW, NEAR, EXPIRED = issue(50), issue(90), issue(1), issue(-1)
KEYLESS, OTHER = (Secret("imagenet-certificate", value) for value in (NEW.chain.decode(), "not a certificate"))
TOO_SOON = "it expires on 2030-05-05 12:00 UTC, within 7 days"

UNREADABLE = "The secret 'imagenet-certificate' cannot be used: "
AGREE = "Key Vault, the service and the gateways' pins agree."
UNTRUSTED = "The served certificate is not pinned: new connections of a gateway fail."
NOT_SERVED = "The service presents no certificate: nothing listens there, or without TLS."
EXPIRED_LINE = "The served certificate has expired: new connections fail until Key Vault gets one (`certificate new`)."
NO_PIN = "Secret 'imagenet-pins' contains no PEM certificate."
OTHER_PIN = "The service presents Key Vault's certificate; another pin will be dropped after the grace time."


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (found(desired(NEW), pins(NEW), NEW), [AGREE]),
        (found(desired(NEW), pins(AUTHORITY.pem, NEW), NEW), [AGREE]),
        (found(desired(NEW), pins(OLD, NEW), NEW), [OTHER_PIN]),
        (found(desired(NEW), pins(OLD), OLD), ["Key Vault's latest is not served yet: the rotation pins it first."]),
        (found(desired(NEW), pins(OLD, NEW), OLD), ["Key Vault's latest is not served yet: it is pinned already."]),
        (found(desired(NEAR), pins(OLD), OLD), [f"The rotation refuses Key Vault's latest: {TOO_SOON}."]),
        (found(desired(NEAR), pins(NEAR), NEAR), [f"The rotation warns: {TOO_SOON}."]),
        (found(desired(NEW), pins(OLD), NEW), [UNTRUSTED]),
        (found(desired(NEW), pins(), NEW), [NO_PIN, UNTRUSTED]),
        (found(desired(NEW), pins(NEW), None), [NOT_SERVED]),
        (found(KEYLESS, pins(NEW), NEW), [UNREADABLE + "it contains no private key."]),
        (found(OTHER, pins(NEW), NEW), [UNREADABLE + "it is neither PEM nor PKCS#12 without a password."]),
        (
            found(desired(EXPIRED), pins(OLD, EXPIRED), EXPIRED),
            [
                f"Pin {fingerprint(leaf(EXPIRED))} in 'imagenet-pins' expired on 2030-05-03.",
                EXPIRED_LINE,
                "The rotation warns: it expired on 2030-05-03 12:00 UTC.",
            ],
        ),
    ],
)
def test_the_verdict_names_what_does_not_agree(seen: View, lines: list[str]) -> None:
    assert verdict(seen, NOW) == lines
