"""Answers that schemathesis takes for failures, and that are what is documented: the only ones that are let pass."""

# What the local stack's services allow a request, in milliseconds (DEADLINE_MS).
_DEADLINE_MS = 10_000


def wanted_it_sooner(status: int, timeout: str) -> bool:
    """Whether the deadline passed that the request's own Request-Timeout-Ms set: 504 is what it asked for."""
    return status == 504 and timeout.isdecimal() and int(timeout) < _DEADLINE_MS


def refuses_the_method(path: str, status: int, content: bytes) -> bool:
    """Whether a method is refused by those who answer before the gateway, or as TensorFlow Serving does; not by 405.

    Azure's host answers what no function takes: 404 without a body, and its home page at the bare address. TensorFlow
    Serving has 400 for whatever it does not understand, and its own words for it. Behind the two paths under /v2 that
    need no key there is the rest of /v2, which does: another method than theirs meets its lock.
    """
    if path.startswith("/v1/") and status == 400:
        return content.startswith(b'{"error":"Malformed request: ')
    if path.startswith("/v2/health/") and status == 401:
        return content == b""
    if path == "/" and status == 200:
        return b"<title>Function app</title>" in content
    return (status, content) == (404, b"")
