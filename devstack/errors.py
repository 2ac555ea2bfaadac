"""The base of the errors that commands print."""


class CommandError(Exception):
    """A command fails; the message is one line for the user that names the cause and, if there is one, the remedy."""
