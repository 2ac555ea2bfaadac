"""A real Triton with the local model, in an environment of its own: Linux x86-64 only."""

from devstack.triton.environment import Environment, TritonUnavailable, ensure_environment
from devstack.triton.repository import MODELS, write_repository

__all__ = ["MODELS", "Environment", "TritonUnavailable", "ensure_environment", "write_repository"]
