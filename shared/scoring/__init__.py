"""Images, tensors and labels: from an upload's bytes to named scores. Knows neither HTTP nor Key Vault."""
