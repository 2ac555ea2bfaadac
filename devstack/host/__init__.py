"""The local Functions host: what `func start` does, around the real Python worker library."""
