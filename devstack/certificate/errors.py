"""Why a command cannot be carried out."""


class CommandFailed(Exception):
    """The message is one line that names the cause and, where there is one, the remedy."""
