"""Stores the first secrets of a service in Key Vault, after checking them as the gateway will use them."""
