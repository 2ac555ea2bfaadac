"""A local Key Vault: the REST API of secrets over loopback TLS, kept on disk."""

from devstack.vault.store import VaultStore

__all__ = ["VaultStore"]
