"""A folder of images."""

from tests.support.clients.photos import photos

__all__ = ["photos"]  # a fixture
