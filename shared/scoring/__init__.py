"""Images, tensors and labels: from an upload's bytes to named scores. Contains no knowledge of HTTP or Key Vault."""
