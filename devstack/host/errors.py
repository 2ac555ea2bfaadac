"""What the host refuses, in one line that names the cause and the remedy."""


class HostError(Exception):
    """The host cannot start, or cannot go on. The message is all a user needs to see."""


class FunctionError(Exception):
    """One function is in error: the host leaves it out and goes on with the others, as in Azure."""
