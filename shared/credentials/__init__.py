"""Key Vault, the snapshot of a service's credentials and its refresh, and pinned certificates."""
