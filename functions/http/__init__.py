"""What the triggers share: requests, responses and problem documents."""
