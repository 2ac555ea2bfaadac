import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.authority import Authority, Issued, fingerprint
from devstack.fpga import KeyPair


def test_a_pair_shows_the_fingerprint_of_its_leaf_and_nothing_of_its_key(issued: Issued) -> None:
    pair = KeyPair(issued.chain, issued.key)
    assert pair.fingerprint == fingerprint(issued.certificate)
    assert repr(pair) == f"<KeyPair {pair.fingerprint[:16]}>"


def test_a_pair_that_does_not_belong_together_is_refused(authority: Authority, issued: Issued) -> None:
    with pytest.raises(ValueError, match="belongs to another certificate"):
        KeyPair(issued.chain, authority.issue().key)
    other_kind = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="belongs to another certificate"):
        KeyPair(issued.chain, other_kind)


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_half_a_file_is_refused(issued: Issued, kept: int) -> None:
    with pytest.raises(ValueError, match="the certificate is not PEM"):
        KeyPair(issued.certificate[:kept], issued.key)
    with pytest.raises(ValueError, match="the private key is not PEM"):
        KeyPair(issued.chain, issued.key[: min(kept, 100)])


def test_an_encrypted_key_is_refused(issued: Issued) -> None:
    encrypted = serialization.load_pem_private_key(issued.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    with pytest.raises(ValueError, match="not PEM, or is encrypted"):
        KeyPair(issued.chain, encrypted)
