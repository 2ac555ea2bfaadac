"""One HTTP request and its response, over azure-core's pipeline: token, TLS and connections are the SDK's.

Nothing is retried here, and no redirect is followed: it would carry the token to wherever the response points.
"""

import logging
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from shared.control_plane.identity import Identity
from shared.errors import InvalidControlPlaneResponse

# Seconds to connect, and without a byte of the response. The deadline may leave less.
_CONNECT, _READ = 5.0, 30.0

# The shortest timeout: the SDK takes zero for a caller's error.
_SHORTEST = 0.001

_MAX_BODY = 8 * 1024 * 1024

# The SDKs log each request's address and headers, and each broken response, at INFO and WARNING.
for _name in ("azure.core", "azure.identity", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class Deadline(Protocol):
    """A moment by which a call ends."""

    @property
    def remaining(self) -> float:
        """Seconds until then; negative afterwards."""


class Response(NamedTuple):
    """A response with its whole body; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ConnectionBroken(Exception):
    """There is no complete response; the message is a sentence.

    ``sent``: the request may have arrived. ``permanent``: another attempt would fail alike.
    """

    def __init__(self, message: str, *, sent: bool, permanent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.permanent = permanent


class Transport:
    """Sends requests with a token for ``scope``; ``ca_file`` replaces the public authorities as trusted roots."""

    def __init__(self, credential: TokenCredential, scope: str, ca_file: str = "") -> None:
        policies = [
            UserAgentPolicy(sdk_moniker="scoring-gateway"),
            BearerTokenCredentialPolicy(Identity(credential), scope),
        ]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            "", policies=policies, transport=RequestsTransport(connection_verify=ca_file or True)
        )

    def send(self, method: str, url: str, body: bytes | None, deadline: Deadline) -> Response:
        """Send a request to an https address and read its whole response.

        Raises:
            ConnectionBroken: there is no response, or the deadline passed before its end.
            IdentityUnavailable: the credential returns no token.
            InvalidControlPlaneResponse: the response is too long.
        """
        remaining = max(deadline.remaining, _SHORTEST)
        # Content-Type also where there is no body: the control plane requires it.
        request = HttpRequest(method, url, headers={"Content-Type": "application/json"}, content=body)
        timeouts = {"connection_timeout": min(_CONNECT, remaining), "read_timeout": min(_READ, remaining)}
        try:
            response = self._client.send_request(request, stream=True, **timeouts)
        except AzureError as error:
            raise _broken(error) from None
        try:
            content = _read_all(response.iter_bytes(), deadline)
        except AzureError:
            raise ConnectionBroken("The control plane's response broke off.", sent=True) from None
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, headers, content)

    def close(self) -> None:
        self._client.close()


def _read_all(chunks: Iterator[bytes], deadline: Deadline) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > _MAX_BODY:
            raise InvalidControlPlaneResponse(f"The control plane's response is longer than {_MAX_BODY} bytes.")
        if deadline.remaining <= 0:
            raise ConnectionBroken("The control plane's response did not end in time.", sent=True)
    return bytes(content)


def _broken(error: AzureError) -> ConnectionBroken:
    """What an error of the SDK means for the request. Its message contains addresses, and is left out."""
    causes = list(causes_of(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return ConnectionBroken("The control plane's certificate is not trusted.", sent=False, permanent=True)
    if any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in causes):
        return ConnectionBroken("The control plane cannot be reached.", sent=False)
    return ConnectionBroken("The control plane did not respond.", sent=True)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and all errors behind it: the libraries wrap each other's in attributes and as arguments."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        wrapped = (getattr(current, name, None) for name in ("inner_exception", "reason", "__cause__", "__context__"))
        waiting += [*wrapped, *current.args]
