"""Text of foreign origin (a service's, a control plane's, a client's), made fit to be logged and sent on.

All such text passes one of these functions before it is repeated anywhere: each result is one printable line of bounded
length, whatever the text is.
"""

import re
from collections.abc import Collection, Iterable
from itertools import islice

# A terminal's escape sequences (ECMA-48): without them, what remains of one would be noise in a log.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)?|\x1b.?"
)
_PEM = re.compile(r"-----BEGIN.*?(-----END[^-]*-----|$)")
# JSON Web Tokens (RFC 7519) have three parts, the first of which starts with `{"`.
_TOKEN = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")
# A shape such as [224] is not an address. Each alternative is tried once for a word, not at each of its letters.
_ADDRESS = re.compile(
    r"(ipv[46]:|unix:|dns:|https?://)\S+|\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?|\[[0-9a-fA-F]*:[0-9a-fA-F:]+\](:\d+)?"
    r"|(?<![\w:])(?=[0-9a-fA-F]*:[0-9a-fA-F]*:)[0-9a-fA-F:]{3,39}(?![\w:])"
    r"|(?<![\w-])(?<![\w-]\.)[\w-]++(?:\.[\w-]++)*+(?::\d{2,5}|(?<=\.svc)|(?<=\.local)|(?<=\.internal))\b"
)


def printable(text: str, limit: int = 200) -> str:
    """The text as one printable line of at most ``limit`` characters."""
    # What is cut off here is not looked at: the text may be megabytes.
    line = _line(text[: 4 * limit])
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 1]}…"


def quoted(text: str, *, limit: int = 200, secrets: Iterable[str] = ()) -> str:
    """As :func:`printable`, where the text may contain what must not be repeated.

    Values in ``secrets``, access tokens, PEM blocks and network addresses are replaced.
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    is_cut = len(text) > 4 * limit
    line = _ADDRESS.sub("(address)", _TOKEN.sub("***", _PEM.sub("***", _line(text[: 4 * limit]))))
    return line if len(line) <= limit and not is_cut else f"{line[: limit - 1]}…"


def listed(names: Collection[str], limit: int = 5) -> str:
    """The first names of a list, and how many more there are; empty for none."""
    shown = ", ".join(repr(printable(name, 40)) for name in islice(names, limit))
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def _line(text: str) -> str:
    bare = _ESCAPE.sub("", text)
    return " ".join("".join(character if character.isprintable() else " " for character in bare).split())
