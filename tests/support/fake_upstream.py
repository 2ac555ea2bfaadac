"""An upstream service without a network: a function replaces its inference calls."""

from collections.abc import Awaitable, Callable

from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream.admission import Admission
from shared.upstream.client import ServiceClient
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from shared.upstream.service import Upstream

type Infer = Callable[[bytes, RequestContext], Awaitable[bytes]]


class FakeClient(ServiceClient):
    """A client whose inference calls are ``infer``."""

    def __init__(self, infer: Infer) -> None:
        self._infer = infer

    async def call(
        self,
        method: str,
        request: bytes,
        context: RequestContext,
        *,
        admission: Admission | None = None,
        images: int = 1,  # noqa: ARG002 - for the admission
    ) -> bytes:
        assert method == TensorFlowCodec.infer_method
        assert admission is not None
        return await self._infer(request, context)


def upstream(infer: Infer, settings: ServiceSettings) -> Upstream:
    """A service whose inference calls are ``infer``."""
    return Upstream(settings, FakeClient(infer), TensorFlowCodec(settings), Admission(64, 10))
