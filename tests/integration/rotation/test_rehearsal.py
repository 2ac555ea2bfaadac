"""The handshake of gRPC on loopback that every new certificate has to pass before anything is changed."""

from collections.abc import Mapping

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from devstack.authority import Authority, Issued
from shared.credentials.pins import Roots
from shared.rotation import rehearsal
from shared.rotation.rehearsal import NothingKnown, rehearse
from shared.rotation.validate import Certificate, parse
from tests.support.odd_certificates import self_signed

NAMES = ["127.0.0.1"]
RSA = rsa.generate_private_key(65537, 2048)

USABLE: Mapping[str, Issued] = {
    "P-256": self_signed(),
    "P-384": self_signed(ec.generate_private_key(ec.SECP384R1())),
    "RSA": self_signed(RSA),
    "RSA with digitalSignature": self_signed(RSA, usages=("digital_signature",)),
    "of an authority": Authority.create().issue(NAMES),
}
UNUSABLE: Mapping[str, tuple[Issued, str]] = {
    "P-521": (self_signed(ec.generate_private_key(ec.SECP521R1())), "no signature for its kind of key"),
    "P-224": (self_signed(ec.generate_private_key(ec.SECP224R1())), "a server with it does not start"),
    "secp256k1": (self_signed(ec.generate_private_key(ec.SECP256K1())), "a server with it does not start"),
    "Brainpool": (self_signed(ec.generate_private_key(ec.BrainpoolP256R1())), "a server with it does not start"),
    "Ed25519": (self_signed(ed25519.Ed25519PrivateKey.generate()), "no signature for its kind of key"),
    "RSA without digitalSignature": (
        self_signed(RSA, usages=("key_encipherment",)),
        "its keyUsage lacks digitalSignature",
    ),
    "P-256 without digitalSignature": (self_signed(usages=("key_agreement",)), "a server with it does not start"),
}


def loaded(issued: Issued) -> Certificate:
    """Without the checks of :func:`shared.rotation.validate.parse`, which refuse some kinds of keys by their names."""
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    return Certificate(leaf, serialization.load_pem_private_key(issued.key, None), ())  # type: ignore[arg-type]


def roots(*pinned: Issued) -> Roots:
    return Roots(b"".join(one.certificate for one in pinned))


@pytest.fixture(autouse=True)
def _own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every certificate here has its own key, which is not of a kind that is compared."""
    monkeypatch.setattr(Certificate, "has_own_key", True)


@pytest.mark.parametrize("case", USABLE)
def test_a_certificate_that_grpc_can_use_passes(case: str) -> None:
    assert rehearse(loaded(USABLE[case]), NAMES, roots(self_signed(subject="old"), USABLE[case])) == ""


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_certificate_that_grpc_cannot_use_is_refused_with_its_cause(case: str) -> None:
    issued, cause = UNUSABLE[case]

    assert rehearse(loaded(issued), NAMES, roots(issued)).startswith("gRPC's TLS cannot use it: ")
    assert cause in rehearse(loaded(issued), NAMES, roots(issued))


def test_two_pins_of_one_subject_are_a_refusal() -> None:
    """GRPC takes the first of them, and every connection fails."""
    old, new = self_signed(), self_signed()

    refusal = rehearse(loaded(new), NAMES, roots(old, new))

    assert "one of them has the same subject" in refusal
    assert "no pin matches" in refusal
    assert rehearse(loaded(new), NAMES, roots(new)) == ""


def test_every_name_is_compared() -> None:
    found = parse((USABLE["P-256"].key + USABLE["P-256"].chain).decode())

    assert "does not cover its configured name" in rehearse(found, ["127.0.0.1", "10.0.0.1"], found.roots)
    assert "does not cover its configured name" in rehearse(found, ["cats.example.com"], found.roots)


def test_where_no_handshake_can_be_made_nothing_is_known_of_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_SECONDS", 0.000_001)

    with pytest.raises(NothingKnown, match="nothing is known of it"):
        rehearse(loaded(USABLE["P-256"]), NAMES, roots(USABLE["P-256"]))
