"""Fixtures of the tests with one real server or process each."""

from tests.support.inference_service import authority, issued, service, start

__all__ = ["authority", "issued", "service", "start"]
