"""Discovery over TensorFlow Serving's protocol: any signature, at warm-up, and again for a new version of the model."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import any_pb2, wrappers_pb2

from protos import serving_pb2, signature_pb2, tensor_pb2
from shared import gateway
from tests.support.app import PICTURE, clear_settings, score, until
from tests.support.devstack.fpga import METADATA, PREDICT, picture, shape

_DTYPES: dict[Any, np.dtype[Any]] = {
    tensor_pb2.DT_UINT8: np.dtype(np.uint8),
    tensor_pb2.DT_FLOAT: np.dtype("<f4"),
    tensor_pb2.DT_HALF: np.dtype("<f2"),
}


@dataclass(frozen=True)
class SavedModel:
    """A model as somebody exported it: the names, type and shape that they chose."""

    signature: str = "serving_default"
    input: str = "pixel_values"
    output: str = "probabilities"
    dtype: tensor_pb2.DataType = tensor_pb2.DT_UINT8
    shape: tuple[int, ...] = (-1, 3, 32, 32)
    version: int = 1


class Server(grpc.GenericRpcHandler):
    """TensorFlow Serving with one model: it refuses what is not of the model's signature, and keeps what it gets."""

    def __init__(self, model: SavedModel) -> None:
        self.model = model
        self.described = 0
        self.received: list[Any] = []

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        handlers = {METADATA: self._metadata, PREDICT: self._predict}
        handler = handlers.get(str(details.method))
        return None if handler is None else grpc.unary_unary_rpc_method_handler(handler)

    async def _metadata(self, _request: bytes, _context: Any) -> bytes:
        self.described += 1
        model = self.model
        definition = signature_pb2.SignatureDef(
            inputs={model.input: _info(model.dtype, model.shape)},
            outputs={model.output: _info(tensor_pb2.DT_FLOAT, (-1, 10))},
        )
        packed = any_pb2.Any()
        packed.Pack(serving_pb2.SignatureDefMap(signature_def={model.signature: definition}))
        return serving_pb2.GetModelMetadataResponse(
            model_spec=self._spec(), metadata={"signature_def": packed}
        ).SerializeToString()

    async def _predict(self, message: bytes, context: Any) -> bytes:
        request, model = serving_pb2.PredictRequest.FromString(message), self.model
        tensor = request.inputs.get(model.input)
        if (
            tensor is None
            or tensor.dtype != model.dtype
            or request.model_spec.signature_name
            not in {
                "",
                model.signature,
            }
        ):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{model.input} of type {model.dtype} is needed")
        assert tensor is not None
        sizes = [dim.size for dim in tensor.tensor_shape.dim]
        if model.dtype == tensor_pb2.DT_STRING:
            self.received.append(list(tensor.string_val))
        else:
            self.received.append(np.frombuffer(tensor.tensor_content, _DTYPES[model.dtype]).reshape(sizes))
        scores = np.linspace(0, 1, 10 * sizes[0], dtype="<f4")
        content = tensor_pb2.TensorProto(
            dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape(sizes[0], 10), tensor_content=scores.tobytes()
        )
        return serving_pb2.PredictResponse(model_spec=self._spec(), outputs={model.output: content}).SerializeToString()

    def _spec(self) -> serving_pb2.ModelSpec:
        return serving_pb2.ModelSpec(name="any", version=wrappers_pb2.Int64Value(value=self.model.version))


def _info(dtype: tensor_pb2.DataType, sizes: Sequence[int]) -> signature_pb2.TensorInfo:
    return signature_pb2.TensorInfo(name="x:0", dtype=dtype, tensor_shape=shape(*sizes))


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A running server, and settings that leave everything about its model open."""
    made = Server(SavedModel())
    running = grpc.aio.server(handlers=[made])
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    clear_settings(monkeypatch)
    monkeypatch.setenv("SERVICES", "any")
    settings = {"ADDRESS": "127.0.0.1", "PORT": str(port), "TLS": "insecure-no-key-is-sent"}
    for key, value in {**settings, "INPUT_FORM": "discovered"}.items():
        monkeypatch.setenv(f"SERVICE__ANY__{key}", value)
    yield made
    await gateway.forget()
    await running.stop(0)


@pytest.mark.parametrize(
    "model",
    [
        SavedModel(),
        SavedModel(dtype=tensor_pb2.DT_HALF, shape=(-1, 48, 48, 3), input="x", output="y"),
        SavedModel(dtype=tensor_pb2.DT_FLOAT, shape=(-1, 3, 16, 16)),
        SavedModel(dtype=tensor_pb2.DT_STRING, shape=(-1,), signature="files"),
    ],
)
async def test_any_signature_is_discovered_at_warm_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, model: SavedModel
) -> None:
    server.model = model
    monkeypatch.setenv("SERVICE__ANY__SIGNATURE", model.signature)

    await gateway.gateway().connect()
    assert server.described == 1
    response = await score(picture(200), "image/png", query={"top": "0"})

    assert response.status == 200, response.body
    assert response.json["predictions"][0]["model_version"] == "1"
    assert response.json["predictions"][0]["scores"] == pytest.approx(np.linspace(0, 1, 10), abs=1e-6)
    assert server.described == 1
    [received] = server.received
    if model.dtype == tensor_pb2.DT_STRING:
        assert received == [picture(200)]
    else:
        assert received.shape == (1, *model.shape[1:])
        # Numbers of a grey picture: as they are, or normalised by the settings' defaults.
        default = gateway.gateway().member("any").settings.preprocessing
        wanted = 200 if model.dtype == tensor_pb2.DT_UINT8 else (200 - default.mean[0]) / default.scale[0]
        assert np.allclose(received, wanted, atol=0.01)


async def test_a_new_version_of_the_model_is_noticed_and_described_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await score(PICTURE, "image/jpeg")).status == 200

    # The same signature: seen in an answer, read in the background. The metadata was read a moment ago.
    discovery = gateway.gateway().member("any").upstream.discovery
    assert discovery is not None
    discovery._read_at = 0.0
    server.model = replace(server.model, version=2)
    assert (await score(PICTURE, "image/jpeg")).json["predictions"][0]["model_version"] == "2"
    await until(_described(server, 2))
    assert "the model's version is 2, after 1" in caplog.text

    # Another signature: the request that the service rejects is made again for it.
    discovery._read_at = 0.0
    server.model = SavedModel(version=3, dtype=tensor_pb2.DT_FLOAT, shape=(-1, 16, 16, 3), input="other")
    response = await score(PICTURE, "image/jpeg")

    assert response.status == 200, response.body
    assert server.received[-1].shape == (1, 16, 16, 3)


def _described(server: Server, times: int) -> Any:
    async def reached() -> bool:
        return server.described >= times

    return reached
