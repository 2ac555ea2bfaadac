"""One inference service, composed of what it takes to call it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.errors import ServiceRejected
from shared.settings import InputForm, ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs import Codec
from shared.upstream.discovery import Discovery

# The reported status of a service that does not implement the protocol's readiness check.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Upstream:
    """One service: its settings, the client that calls it, its protocol, and the limit of its load.

    ``discovery`` is None where the settings say all of what the model takes; ``codec`` is for it then. ``listeners``
    are called with the model's version in each answer to a request that chose none.
    """

    settings: ServiceSettings
    client: ServiceClient
    codec: Codec
    admission: Admission
    discovery: Discovery | None = None
    listeners: list[Callable[[int | str | None], None]] = field(default_factory=list)

    def answered(self, version: int | str | None) -> None:
        """Note the model's version in an answer to a request that chose none."""
        if self.discovery is not None:
            self.discovery.answered(version)
        for listener in self.listeners:
            listener(version)

    @property
    def known_codec(self) -> Codec | None:
        """The codec for the model, without waiting; None until the service's metadata has been read."""
        return self.codec if self.discovery is None else self.discovery.latest

    async def model_codec(self, context: RequestContext) -> Codec:
        """The codec for the model as the settings, or the service's metadata, describe it.

        Raises:
            GatewayError: the model is not known, and why.
            TimeoutError: the request's deadline passed.
        """
        return self.codec if self.discovery is None else await self.discovery.codec(context)

    @property
    def accepts(self) -> str:
        """``encoded`` or ``tensor``; ``discovered`` until the service's metadata has been read."""
        codec = self.known_codec
        if codec is None or codec.model is None:
            return self.settings.input_form.value
        return (InputForm.ENCODED if codec.model.takes_files else InputForm.TENSOR).value

    async def infer(self, request: bytes, context: RequestContext, images: int = 1) -> bytes:
        """Send a serialized inference request for so many images; the response is serialized too.

        Raises:
            GatewayError: the cause.
        """
        return await self.client.call(
            self.codec.infer_method, request, context, admission=self.admission, images=images
        )

    async def warm_up(self, context: RequestContext) -> None:
        """Connect, and learn what the model takes, so that the first request waits for neither.

        Raises:
            GatewayError: the cause.
        """
        await self.reported_status(context)
        try:
            await self.model_codec(context)
        except TimeoutError:
            raise context.deadline_exceeded() from None

    async def reported_status(self, context: RequestContext) -> str:
        """The status that the service reports of itself: ``serving`` where it is ready.

        Raises:
            GatewayError: the service cannot be asked; the cause.
        """
        for method, request in self.codec.readiness():
            try:
                response = await self.client.call_once(method, request, context)
            except ServiceRejected as error:
                if error.code != "UNIMPLEMENTED":
                    raise
            else:
                return self.codec.reported_status(method, response)
        return UNKNOWN
