"""Everything that the benchmarks use of the gateway's code beyond its public names, in one place.

Functions are named by strings (the end of the file's name, and the qualified name), so that nothing is imported for
them: an import is a part of the cold start. A test fails where a measured request no longer passes through one.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import grpc
    import numpy as np
    import numpy.typing as npt

# A function: the end of its file's name, and its qualified name.
type Function = tuple[str, str]

# The parts of an invocation, from the outside to the inside; time beyond them counts as their caller's.
INVOCATION_PARTS: Mapping[Function, str] = {
    ("devstack/host/worker.py", "invoke"): "worker library: invocation",
    ("azure/functions/http.py", "HttpRequestConverter.decode"): "worker library: request",
    ("azure/functions/http.py", "HttpResponseConverter.encode"): "worker library: response",
    ("functions/http/problems.py", "respond"): "trigger",
    ("functions/http/uploads.py", "submission"): "trigger: body",
    ("functions/http/requests.py", "ranking"): "trigger: query",
    ("functions/http/requests.py", "request_context"): "trigger: headers",
    ("shared/telemetry/timings.py", "Timings.server_timing"): "trigger: Server-Timing",
    ("functions/http/responses.py", "json_response"): "trigger: answer",
    ("shared/scoring/scorer.py", "Scorer.score"): "scorer: tasks, deadline",
    ("shared/scoring/images/forwarding.py", "forwardable"): "scorer: image's headers",
    ("shared/upstream/codecs/tensorflow.py", "PredictRequests.encoded"): "scorer: request",
    ("shared/upstream/codecs/tensorflow.py", "TensorFlowCodec.classified"): "scorer: answer",
    ("shared/scoring/labels.py", "rank"): "scorer: ranking",
    ("shared/upstream/client.py", "ServiceClient.call"): "client: credentials, lease",
    ("shared/upstream/channel.py", "Channel.call"): "Predict, with its metadata",
}

# The parts of a new instance's first request.
FIRST_REQUEST_PARTS: Mapping[Function, str] = {
    ("shared/settings/loader.py", "load"): "settings",
    ("shared/control_plane/identity.py", "Identity.get_token"): "identity token",
    ("shared/credentials/key_vault.py", "KeyVault.read"): "secret from Key Vault",
    ("shared/upstream/channel.py", "Channel._connect"): "TCP and TLS handshake",
    ("shared/upstream/channel.py", "Channel.call"): "first call",
}


class LiveChannel(NamedTuple):
    """The open gRPC channel of this process's gateway to its default service, and the key as metadata."""

    channel: "grpc.aio.Channel"
    metadata: tuple[tuple[str, str], ...]

    def predict(self) -> Callable[[bytes], Awaitable[bytes]]:
        """``Predict`` with a serialized request, returning the serialized response."""
        from benchmarks.harness.grpc_load import PREDICT  # noqa: PLC0415 - see above

        call: Callable[..., Awaitable[bytes]] = self.channel.unary_unary(PREDICT)
        return lambda request: call(request, timeout=10, metadata=self.metadata)


async def live_channel() -> LiveChannel:
    """See :class:`LiveChannel`; the gateway must have scored something before."""
    from shared.gateway import gateway  # noqa: PLC0415 - see above

    client = gateway().member(gateway().settings.default_service).upstream.client
    assert client.credentials is not None  # noqa: S101 - the local stack has TLS and keys
    credentials = await client.credentials.current()
    # Another channel would be another connection.
    with client._slot.channel(credentials.pins) as channel:  # noqa: SLF001
        return LiveChannel(channel._channel, (("authorization", credentials.keys[0]),))  # noqa: SLF001


def assembled_tensor() -> "Callable[[npt.NDArray[np.float32]], bytes]":
    """The gateway's way to assemble the request for a tensor, without protobuf's classes."""
    from shared.settings import Datatype, ServiceSettings  # noqa: PLC0415 - see above
    from shared.upstream.codecs import Selector  # noqa: PLC0415
    from shared.upstream.codecs.tensorflow import TensorFlowCodec  # noqa: PLC0415

    requests = TensorFlowCodec(ServiceSettings("imagenet", "", model="imagenet")).requests(Selector())
    return lambda tensor: requests.numbers(Datatype.FP32, tensor.shape, tensor.data.cast("B"))
