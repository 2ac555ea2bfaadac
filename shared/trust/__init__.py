"""Secrets and certificates: what the gateway may use, and whom it believes. Knows nothing of scoring."""
