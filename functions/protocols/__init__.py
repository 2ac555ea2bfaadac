"""What the endpoints of the inference protocols share, and the JSON bodies of each protocol."""
