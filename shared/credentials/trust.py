"""What a connection trusts beside pins, and what it presents: the named store of public roots, a client certificate."""

import datetime as dt
import hashlib
import ssl
from pathlib import Path

from shared.credentials.pins import ClientCertificate, Pins, blocks
from shared.errors import InvalidPin

# Remaining days from which the expiry of a client certificate is warned of.
WARN_DAYS = 30

# A bundle of every public authority has some 250 kB.
_LARGEST = 5_000_000


def public_roots(file: str) -> Pins:
    """The authorities in a PEM file, or where none is named those that the operating system trusts.

    The system's are the ones that Python's ``ssl`` finds, and not those that gRPC brings along. They count as one root:
    another list of them is other trust.

    Raises:
        InvalidPin: there are none.
    """
    try:
        bundle = Path(file).read_text(encoding="utf-8") if file else _system_bundle()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPin("The file of TRUST_FILE cannot be read.") from error
    # gRPC stops at the first block that it cannot parse: what is between the blocks is left out.
    found = "\n".join(_whole_blocks(bundle[:_LARGEST]))
    if not found:
        where = "TRUST_FILE" if file else "The operating system's store"
        raise InvalidPin(f"{where} contains no certificates.")
    data = f"{found}\n".encode()
    return Pins(data, (hashlib.sha256(data).hexdigest(),))


def joined(pins: Pins | None, public: Pins | None, presents: ClientCertificate | None) -> Pins:
    """All that a connection trusts, and what it presents."""
    parts = [one for one in (pins, public) if one is not None]
    return Pins(
        b"".join(one.bundle for one in parts),
        tuple(fingerprint for one in parts for fingerprint in one.fingerprints),
        tuple(fault for one in parts for fault in one.rejected),
        presents,
        None if pins is None else pins.not_after,
    )


def expiry_warning(presented: ClientCertificate, secret: str, now: dt.datetime) -> str:
    """That a client certificate ends soon, or has ended; empty where it does not."""
    days = (presented.not_after - now).days
    if days >= WARN_DAYS:
        return ""
    ends = "expires" if days >= 0 else "expired"
    return f"the client certificate in secret {secret!r} {ends} on {presented.not_after:%Y-%m-%d}"


def _system_bundle() -> str:
    context = ssl.create_default_context()
    found = context.get_ca_certs(binary_form=True)
    if found:
        return "\n".join(map(ssl.DER_cert_to_PEM_cert, found))
    # A folder of certificates is read by OpenSSL when one is looked for, so it is not listed.
    folder = ssl.get_default_verify_paths().capath
    files = sorted(Path(folder).glob("*.[0-9]")) if folder else []
    return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def _whole_blocks(text: str) -> list[str]:
    """The PEM blocks in the text, a part at a time: each part is as long as a secret may be."""
    begin = "-----BEGIN CERTIFICATE-----"
    return [block for part in text.split(begin)[1:] for block in blocks(begin + part) if "-----END" in block]
