"""What a browser says about the web page that sent a request: its origin, and the name by which it found the server.

Both matter on a developer's machine, where no key protects what listens on loopback: any page that the developer visits
can send requests to it. A page of another origin is recognised by ``Origin`` (RFC 6454), which browsers add to every
request but plain GETs and which scripts cannot set; one whose name was made to resolve to loopback (DNS rebinding), by
``Host``.
"""

import re

_LOOPBACK = re.compile(r"(([a-z0-9-]+\.)*localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Whether a host with or without a port, as in the header Host, is a name or address of loopback."""
    return _LOOPBACK.fullmatch(host) is not None


def is_own(origin: str, host: str) -> bool:
    """Whether an origin is that of the pages which the server itself, at ``host``, serves."""
    scheme, _, rest = origin.partition("://")
    return scheme in {"http", "https"} and rest.lower() == host.lower()
