"""The errors of the host, each one line that names the cause and the remedy."""

from devstack.errors import CommandError


class HostError(CommandError):
    """The host cannot start, or cannot continue."""


class FunctionError(Exception):
    """One function is in error: the host leaves it out and runs the others, as in Azure."""
