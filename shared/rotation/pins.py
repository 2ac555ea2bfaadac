"""Changes the pins in Key Vault, which people change too: what they store meanwhile is kept.

Key Vault has no compare-and-set. So the secret is read again before it is written; and afterwards its versions show
whether another one was stored in between: then the change is made to that one as well.
"""

from collections.abc import Collection
from dataclasses import dataclass

from cryptography import x509

from shared.credentials.key_vault import KeyVault
from shared.credentials.secrets import Secret, Version
from shared.errors import SecretDisabled, SecretMissing
from shared.rotation.observe import PinnedCertificates

_PEM = "application/x-pem-file"

# Key Vault's limit of a secret is 25,600 bytes.
LARGEST = 25_000
# How often the pins of others are merged, which are stored while these are.
_MERGES = 5


@dataclass(frozen=True)
class PinChange:
    """A certificate to pin, fingerprints to drop, and ``spare`` ones to drop, in order, while there is no room."""

    added: x509.Certificate
    dropped: Collection[str] = ()
    spare: tuple[str, ...] = ()

    def of(self, pinned: PinnedCertificates) -> PinnedCertificates:
        """The pins after the change."""
        changed = pinned.changed(self.added, self.dropped)
        for one in self.spare:
            if len(changed.text) <= LARGEST:
                break
            changed = changed.changed(dropped=[one])
        return changed


def write_pins(vault: KeyVault, secret: str, change: PinChange) -> frozenset[str]:
    """Store the changed pins; returns the fingerprints of those that were dropped.

    Raises:
        GatewayError: Key Vault cannot be used; the cause.
    """
    known, found = _base(vault, secret)
    for _ in range(_MERGES):
        pinned = PinnedCertificates() if found is None else PinnedCertificates.of(found)
        changed = change.of(pinned)
        if changed == pinned:
            break
        written = vault.write(secret, changed.text, content_type=_PEM)
        known.add(written.id)
        others = [version for version in _versions(vault, secret) if version.enabled and version.id not in known]
        if not others:
            break
        found = vault.read(secret, others[0].id)
        known |= {version.id for version in others}
    return pinned.fingerprints - changed.fingerprints


def _base(vault: KeyVault, secret: str) -> tuple[set[str], Secret | None]:
    """The latest version, and all that were there before it was read."""
    for _ in range(_MERGES):
        known = {version.id for version in _versions(vault, secret)}
        found = _latest(vault, secret)
        if found is None or found.version in known:
            break
    return known, found


def _versions(vault: KeyVault, secret: str) -> list[Version]:
    try:
        return vault.versions(secret)
    except SecretMissing:
        return []


def _latest(vault: KeyVault, secret: str) -> Secret | None:
    try:
        return vault.read(secret)
    except (SecretMissing, SecretDisabled):
        return None
