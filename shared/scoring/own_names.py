"""The names of a model's classes as the service itself gives them, with Triton's classification extension.

They come with the scores of a request that asks for them: one of a grey picture, once for a model.
"""

import asyncio

from shared.errors import Misconfigured, ServiceRejected
from shared.scoring.probe import probe
from shared.settings import prefix
from shared.telemetry import RequestContext
from shared.upstream.codecs import MAX_CLASSES, Codec, Selector
from shared.upstream.service import Upstream


class OwnNames:
    """The names of one service's classes; belongs to one event loop."""

    # _known  the names, of the codec for the model that has them
    # _lock   one request asks for them, and the others wait

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: tuple[Codec, tuple[str, ...]] | None = None
        self._lock = asyncio.Lock()

    async def of(self, codec: Codec, context: RequestContext) -> tuple[str, ...]:
        """The names of the classes of a codec's model.

        Raises:
            Misconfigured: the service names none.
            GatewayError: it cannot be asked; the cause.
        """
        if self._known is not None and self._known[0] is codec:
            return self._known[1]
        try:
            async with context.timeout(), self._lock:
                if self._known is None or self._known[0] is not codec:
                    self._known = codec, await self._asked(codec, context)
                return self._known[1]
        except TimeoutError:
            raise context.deadline_exceeded() from None

    async def _asked(self, codec: Codec, context: RequestContext) -> tuple[str, ...]:
        requests = codec.labelled(codec.requests(Selector()), MAX_CLASSES)
        try:
            names = codec.labels(await self._upstream.infer(probe(codec, requests).request, context))
        except ServiceRejected as error:
            raise self._none(error.detail) from error
        if not names:
            raise self._none("its answer has no names.")
        return tuple(names)

    def _none(self, why: str) -> Misconfigured:
        name = prefix(self._upstream.settings.name) + "LABELS"
        return Misconfigured(
            f"{name} is service, but the service does not name its classes: {why} Triton does where the output has a "
            "label_filename; set LABELS to a file in the app.",
            settings=[name],
        )
