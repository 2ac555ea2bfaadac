"""The correct responses that schemathesis reports as failures; the tests accept no others."""

# The deadline of the local stack's services, in milliseconds (DEADLINE_MS).
_DEADLINE_MS = 10_000


def is_requested_timeout(status: int, timeout: str) -> bool:
    """Whether the response is 504 because the request's own Request-Timeout-Ms passed."""
    return status == 504 and timeout.isdecimal() and int(timeout) < _DEADLINE_MS


def is_empty_401(status: int, content: bytes) -> bool:
    """Whether the Functions host rejected a key: without a body, and so without the Content-Type of a text."""
    return (status, content) == (401, b"")


def is_method_rejection(path: str, status: int, content: bytes) -> bool:
    """Whether an unsupported method is rejected by the Functions host, instead of with 405.

    Without a matching route, the host responds with 404 and no body, or with its home page at the root path. The two
    paths of /v2 that require no key only have the methods GET and HEAD: other methods match the catch-all route of /v2,
    which requires one.
    """
    if path.startswith("/v2/health/") and status == 401:
        return content == b""
    if path == "/" and status == 200:
        return b"<title>Function app</title>" in content
    return (status, content) == (404, b"")


def has_too_many_images(status: int, content: bytes) -> bool:
    """Whether a request of the documented form was rejected for more images than MAX_IMAGES, which is a setting."""
    return status == 413 and b"urn:problem-type:scoring-gateway:too-many-images" in content
