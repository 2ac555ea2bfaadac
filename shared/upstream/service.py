"""One inference service, composed of what it takes to call it."""

from dataclasses import dataclass

from shared.errors import ServiceRejected
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs import Codec

# The reported status of a service that does not implement the protocol's readiness check.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Upstream:
    """One service: its settings, the client that calls it, its protocol, and the limit of its load."""

    settings: ServiceSettings
    client: ServiceClient
    codec: Codec
    admission: Admission

    async def infer(self, request: bytes, context: RequestContext, images: int = 1) -> bytes:
        """Send a serialized inference request for so many images; the response is serialized too.

        Raises:
            GatewayError: the cause.
        """
        return await self.client.call(
            self.codec.infer_method, request, context, admission=self.admission, images=images
        )

    async def reported_status(self, context: RequestContext) -> str:
        """The status that the service reports of itself: ``serving`` where it is ready.

        Raises:
            GatewayError: the service cannot be asked; the cause.
        """
        try:
            response = await self.client.call_once(*self.codec.readiness(), context)
        except ServiceRejected as error:
            if error.code == "UNIMPLEMENTED":
                return UNKNOWN
            raise
        return self.codec.reported_status(response)
