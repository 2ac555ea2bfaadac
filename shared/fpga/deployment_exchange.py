"""One request and its answer, over azure-core's pipeline: the token, TLS and the connections are the SDK's.

Nothing is tried again here, and no redirect is followed: each would decide for the caller, and the latter would carry
the token to wherever the answer says. Synchronous, and slow to import: meant for a thread, and imported late.
"""

import logging
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from azure.core import PipelineClient
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from shared.fpga.deployment_errors import InvalidAnswer, TokenUnavailable
from shared.fpga.deployment_timing import Deadline

# Seconds: to connect, and without a byte of the answer. The deadline may leave less.
_CONNECT, _READ = 5.0, 30.0

# The least that a timeout may be: the SDK takes zero for an error of the caller's.
_LEAST = 0.001

_MAX_BODY = 8 * 1024 * 1024

# The SDKs log each request's address and headers, and each broken answer, at INFO and WARNING.
for _name in ("azure.core", "azure.identity", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Answer:
    """An answer with its whole body; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(Exception):
    """There is no whole answer. ``sent``: the request may have arrived. ``lasting``: another try would end alike."""

    def __init__(self, message: str, *, sent: bool, lasting: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.lasting = lasting


class Exchange:
    """Sends requests with a token for ``scope``; ``ca_file`` replaces the public authorities as what to trust."""

    def __init__(self, credential: TokenCredential, scope: str, ca_file: str = "") -> None:
        transport = RequestsTransport(connection_verify=ca_file or True)
        policies = [
            UserAgentPolicy(sdk_moniker="scoring-gateway"),
            BearerTokenCredentialPolicy(_Tokens(credential), scope),
        ]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            "", policies=policies, transport=transport
        )

    def send(self, method: str, url: str, body: bytes | None, deadline: Deadline) -> Answer:
        """Send a request to an https address and read its whole answer.

        Raises:
            Broken: there is no answer, or the deadline passed before its end.
            TokenUnavailable: the credential gives no token.
            InvalidAnswer: the answer is longer than any of the control plane's.
        """
        remaining = max(deadline.remaining, _LEAST)
        # Content-Type also where there is no body: the control plane asks for it.
        request = HttpRequest(method, url, headers={"Content-Type": "application/json"}, content=body)
        timeouts = {"connection_timeout": min(_CONNECT, remaining), "read_timeout": min(_READ, remaining)}
        try:
            response = self._client.send_request(request, stream=True, **timeouts)
        except AzureError as error:
            raise _broken(error) from None
        try:
            content = _whole(response.iter_bytes(), deadline)
        except AzureError:
            raise Broken("the control plane's answer broke off", sent=True) from None
        finally:
            response.close()
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, content)

    def close(self) -> None:
        self._client.close()


class _Tokens:
    """A credential whose failures are told apart from the control plane's."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        try:
            return self._credential.get_token(*scopes, **options)
        except AzureError:
            raise TokenUnavailable("the identity gives no token for the control plane") from None


def _whole(chunks: Iterator[bytes], deadline: Deadline) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > _MAX_BODY:
            raise InvalidAnswer(f"the control plane's answer is longer than {_MAX_BODY} bytes")
        if deadline.remaining <= 0:
            raise Broken("the control plane's answer did not end in time", sent=True)
    return bytes(content)


def _broken(error: AzureError) -> Broken:
    """What an error of the SDK says about the request. Its own words name addresses, and are left out."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Broken("the control plane's certificate is not trusted", sent=False, lasting=True)
    if any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in causes):
        return Broken("the control plane cannot be reached", sent=False)
    return Broken("the control plane gave no answer", sent=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and everything behind it: the libraries wrap each other's errors in attributes and as arguments."""
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
