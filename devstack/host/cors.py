"""Cross-origin requests, answered by the host before any function, as ``func start --cors`` does.

The protocol: https://fetch.spec.whatwg.org/#http-cors-protocol. Any method and header is allowed; origins are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from devstack.host.errors import HostError

type Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Cors:
    """The origins that may read responses. ``any_origin`` excludes ``credentials``: the protocol forbids both."""

    origins: frozenset[bytes]
    any_origin: bool = False
    credentials: bool = False

    @classmethod
    def configure(cls, origins: Sequence[str], *, credentials: bool = False) -> Self | None:
        """Make the policy of the settings; None where they allow no origin.

        Raises:
            HostError: every origin would be allowed to send credentials.
        """
        if not origins:
            return None
        if credentials and "*" in origins:
            raise HostError("CORS: credentials cannot go with the origin '*': name the origins, or disable credentials")
        return cls(frozenset(origin.lower().encode() for origin in origins), "*" in origins, credentials)

    def is_preflight(self, method: str, headers: Mapping[bytes, bytes]) -> bool:
        return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers

    def preflight(self, headers: Mapping[bytes, bytes]) -> Headers:
        """The headers of the response to a preflight; none where the origin is not allowed."""
        allowed = self.actual(headers)
        if not self._allows(headers):
            return allowed
        allowed.append((b"access-control-allow-methods", headers[b"access-control-request-method"]))
        wanted = headers.get(b"access-control-request-headers")
        return [*allowed, (b"access-control-allow-headers", wanted)] if wanted else allowed

    def actual(self, headers: Mapping[bytes, bytes]) -> Headers:
        """The headers of any other response."""
        # A cache must not serve one origin's response to another, whether or not this one is allowed.
        vary = [(b"vary", b"Origin")] if len(self.origins) > 1 and not self.any_origin else []
        if not self._allows(headers):
            return vary if b"origin" in headers else []
        origin = b"*" if self.any_origin else headers[b"origin"]
        allowed = [(b"access-control-allow-origin", origin)]
        if self.credentials:
            allowed.append((b"access-control-allow-credentials", b"true"))
        return allowed + vary

    def amend(self, response: Headers, request: Mapping[bytes, bytes]) -> None:
        """Put the policy's headers into a response, in place of a function's own except Vary.

        Other headers stay, such as a function's Access-Control-Expose-Headers: the policy exposes none.
        """
        ours = self.actual(request)
        replaced = {name for name, _ in ours} - {b"vary"}
        response[:] = [pair for pair in response if pair[0].lower() not in replaced] + ours

    def _allows(self, headers: Mapping[bytes, bytes]) -> bool:
        origin = headers.get(b"origin")
        return origin is not None and (self.any_origin or origin.lower() in self.origins)
