"""Text of foreign origin (a service's, a control plane's, a client's), made fit to be logged and sent on."""

import re
from collections.abc import Iterable

_PEM = re.compile(r"-----BEGIN.*?(-----END[^-]*-----|$)", re.DOTALL)
# JSON Web Tokens (RFC 7519) have three parts, the first of which starts with `{"`.
_TOKEN = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")
# A shape such as [224] is not an address.
_ADDRESS = re.compile(
    r"(ipv[46]:|unix:|dns:|https?://)\S+|\b\d{1,3}(\.\d{1,3}){3}\b(:\d+)?|\[[0-9a-fA-F]*:[0-9a-fA-F:]+\](:\d+)?"
    r"|\b[\w-]+(\.[\w-]+)*:\d{2,5}\b"
)


def quoted(text: str, *, limit: int = 200, secrets: Iterable[str] = ()) -> str:
    """The text as one printable line of at most ``limit`` characters.

    Values in ``secrets``, access tokens, PEM blocks and network addresses are replaced.
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = _ADDRESS.sub("(address)", _TOKEN.sub("***", _PEM.sub("***", text)))
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= limit else f"{line[:limit]}…"
