"""The certificate in a secret of Key Vault: PEM, or PKCS#12, which is converted in a process of its own.

How long PKCS#12 takes to read is up to whoever made it: a file of 900 bytes may ask for two billion iterations, also
inside of what is encrypted, and the interpreter is locked meanwhile. So a process does it, which is ended after
``SECONDS``: ``python -m shared.rotation.stored``.
"""

import base64
import subprocess
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from shared import child_process
from shared.credentials.pins import LONGEST, UNUSABLE, pem
from shared.rotation.validate import Certificate, UnreadableCertificate, parse

SECONDS = 5.0

# The status of a process that refuses a file; its output is the reason.
_REFUSED = 3


def read_certificate(secret: str) -> Certificate:
    """The certificate with its key in a secret: PEM in any order, or PKCS#12 without a password, as is or in base64.

    Raises:
        UnreadableCertificate: it is neither, is too large, takes too long, or lacks the key or the certificate.
    """
    if len(secret) > LONGEST:
        raise UnreadableCertificate(f"it is longer than {LONGEST} characters")
    return parse(secret if "-----BEGIN" in secret else _converted(secret))


def _converted(secret: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - no argument comes from outside
            child_process.command("shared.rotation.stored"),
            input=_from_base64(secret),
            env=child_process.environment(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadableCertificate(
            f"its PKCS#12 takes over {SECONDS:g} seconds to read: too many iterations, or too large a key"
        ) from None
    except OSError:
        raise UnreadableCertificate("its PKCS#12 could not be read in a process of its own; store it as PEM") from None
    if done.returncode == _REFUSED:
        raise UnreadableCertificate(done.stdout.decode())
    if done.returncode:
        raise UnreadableCertificate("its PKCS#12 could not be read; store it as PEM")
    return done.stdout.decode()


def _from_base64(value: str) -> bytes:
    # Key Vault returns its own certificates in this form; tools break it into lines.
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        return value.encode(errors="replace")


def to_pem(value: bytes) -> str:
    """PKCS#12 without a password as PEM: the key, then the certificates.

    Raises:
        UnreadableCertificate: it is not PKCS#12, or lacks the key or the certificate.
    """
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(value, None)
    except UNUSABLE:
        raise UnreadableCertificate("it is neither PEM nor PKCS#12 without a password") from None
    certificates = [leaf, *others] if leaf is not None else others
    if key is None:
        raise UnreadableCertificate("it contains no private key")
    if not certificates:
        raise UnreadableCertificate("it contains no certificate")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode() + "".join(map(pem, certificates))


def main() -> int:
    """Convert what is on standard input; for :func:`read_certificate`."""
    try:
        output, status = to_pem(sys.stdin.buffer.read()), 0
    except UnreadableCertificate as refusal:
        output, status = str(refusal), _REFUSED
    sys.stdout.write(output)
    return status


if __name__ == "__main__":
    sys.exit(main())
