"""TensorFlow Serving's codec: requests and responses, compared with the generated protobuf code."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, DT_INT64, DT_STRING, DataType, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid
from shared.settings import Datatype, OutputKind, ServiceSettings
from shared.upstream.codecs import Selector
from shared.upstream.codecs.tensorflow import TensorFlowCodec

REQUESTS = TensorFlowCodec(ServiceSettings("cats", "x")).requests(Selector())


def codec() -> TensorFlowCodec:
    return TensorFlowCodec(ServiceSettings("cats", "x", output_name="out"))


def make_response(*, shape: Sequence[int] = (1, 3), dtype: DataType = DT_FLOAT, **values: Any) -> bytes:
    """A PredictResponse with the output ``out``."""
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
    return PredictResponse(outputs={"out": TensorProto(dtype=dtype, tensor_shape=dims, **values)}).SerializeToString()


def outputs(*names: str) -> bytes:
    return PredictResponse(outputs={name: TensorProto() for name in names}).SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000, 2_100_000])
def test_an_image_file_is_sent_as_a_string_tensor(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    request = PredictRequest.FromString(REQUESTS.encoded([data[:size]]))

    assert not request.HasField("model_spec")
    assert list(request.inputs) == ["images"]
    tensor = request.inputs["images"]
    assert tensor.dtype == DT_STRING
    assert [dim.size for dim in tensor.tensor_shape.dim] == [1]
    assert list(tensor.string_val) == [data[:size]]


def test_several_files_are_sent_in_their_order() -> None:
    tensor = PredictRequest.FromString(REQUESTS.encoded([b"a", b"bb", b""])).inputs["images"]

    assert [dim.size for dim in tensor.tensor_shape.dim] == [3]
    assert list(tensor.string_val) == [b"a", b"bb", b""]


def test_pixels_are_sent_as_little_endian_content() -> None:
    pixels = np.arange(2 * 224 * 224 * 3, dtype=np.float32).reshape(2, 224, 224, 3)

    tensor = PredictRequest.FromString(
        REQUESTS.numbers(Datatype.FP32, pixels.shape, memoryview(pixels).cast("B"))
    ).inputs["images"]

    assert tensor.dtype == DT_FLOAT
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2, 224, 224, 3]
    np.testing.assert_array_equal(np.frombuffer(tensor.tensor_content, "<f4").reshape(2, 224, 224, 3), pixels)
    assert not tensor.float_val


def test_requests_have_the_configured_model_signature_and_input() -> None:
    settings = ServiceSettings("cats", "x", model="m", signature="s", input_name="x" * 200)
    request = PredictRequest.FromString(TensorFlowCodec(settings).requests(Selector()).encoded([b""]))

    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "s")
    assert not request.model_spec.HasField("version")
    assert list(request.inputs) == ["x" * 200]
    assert not request.output_filter


@pytest.mark.parametrize(
    "tensor",
    [
        {"float_val": [0.5, 0.25, 0.25]},
        {"tensor_content": np.array([0.5, 0.25, 0.25], "<f4").tobytes()},
    ],
)
def test_scores_are_parsed_in_every_form(tensor: dict[str, Any]) -> None:
    scores = codec().scores(make_response(**tensor))

    assert scores.dtype == np.float32
    assert scores.tolist() == [0.5, 0.25, 0.25]


def test_features_are_no_classes() -> None:
    features = make_response(float_val=[0.5, 0.25, 0.25], shape=[1, 1, 1, 3])

    with pytest.raises(ServiceAnswerInvalid, match=r"SERVICE__CATS__OUTPUT is classes.*\[1, 1, 1, 3\].*Set it to raw"):
        codec().scores(features)
    settings = ServiceSettings("cats", "x", output_name="out", output=OutputKind.SCORES)
    assert TensorFlowCodec(settings).scores(features).tolist() == [0.5, 0.25, 0.25]


def test_a_single_value_fills_the_shape() -> None:
    assert codec().scores(make_response(float_val=[0.25], shape=[1, 4])).tolist() == [0.25] * 4


NUMBERS = np.random.default_rng(5).random((50, 1000), np.float32)


def responses() -> Iterator[tuple[bytes, list[float]]]:
    """Responses of several layouts, ten of each, with their numbers."""
    for numbers in NUMBERS[:10]:
        values = numbers.tolist()
        yield make_response(float_val=values, shape=[1, 1000]), values
        yield make_response(tensor_content=numbers.tobytes(), shape=[1, 1000]), values
        yield make_response(float_val=values[:20], shape=[1, 20]), values[:20]
        yield make_response(float_val=values[:3]), values[:3]
        yield make_response(float_val=values[:1], shape=[1, 30]), values[:1] * 30
        both = {"out": TensorProto.FromString(_tensor(values)), "other": TensorProto.FromString(_tensor(values))}
        yield PredictResponse(outputs=both).SerializeToString(deterministic=True), values


def _tensor(values: Sequence[float]) -> bytes:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=len(values))])
    return TensorProto(dtype=DT_FLOAT, tensor_shape=dims, float_val=values).SerializeToString()


def test_mixed_response_layouts_are_parsed_correctly() -> None:
    reader = codec()
    mixed = list(responses())
    for response, values in [*mixed, *mixed[::-1], *sorted(mixed)]:
        assert reader.scores(response).tolist() == values


def test_a_corrupted_response_is_not_parsed_by_a_cached_layout() -> None:
    reader = codec()
    valid = make_response(float_val=NUMBERS[0].tolist(), shape=[1, 1000])
    reader.scores(valid)
    for at in [*range(40), *range(len(valid) - 10, len(valid))]:
        broken = valid[:at] + bytes([valid[at] ^ 0x11]) + valid[at + 1 :]
        uncached, cached = (_outcome(one, broken) for one in (codec(), reader))
        assert cached == uncached


def _outcome(reader: TensorFlowCodec, response: bytes) -> object:
    try:
        return reader.scores(response).tolist()
    except ServiceAnswerInvalid as error:
        return error.detail


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (b"\xff\xff\xff", "The response is not a PredictResponse."),
        (outputs(), "The response has no output 'out'; it has: none."),
        (outputs("b", "a"), "it has: 'a', 'b'."),
        (make_response(dtype=DT_INT64), "The output's data type is number 9; DT_FLOAT (1) is needed."),
        (make_response(float_val=[1, 2]), "The output's shape [1, 3] does not fit its 2 values."),
        (make_response(float_val=[1, 2], shape=[2, 1]), "The output's shape is [2, 1]; [1, classes] is needed."),
        (make_response(float_val=[1, 2, 3], shape=[3]), "The output's shape is [3]; [1, classes] is needed."),
        (make_response(float_val=[1], shape=[1, 10**15]), "does not fit its 1 values."),
        (make_response(float_val=[1], shape=[-1, -1]), "does not fit its 1 values."),
        (make_response(float_val=[], shape=[1, 0]), "The output is empty: its shape is [1, 0]."),
        (make_response(float_val=[], shape=[]), "does not fit its 0 values."),
        (make_response(tensor_content=b"\0" * 11), "does not fit its 2 values."),
        (make_response(float_val=[0, float("nan"), 0]), "not finite (NaN or infinity)"),
        (make_response(float_val=[0, float("inf"), 0]), "not finite (NaN or infinity)"),
    ],
)
def test_an_invalid_response_is_rejected(response: bytes, detail: str) -> None:
    with pytest.raises(ServiceAnswerInvalid) as caught:
        codec().scores(response)
    assert detail in caught.value.detail
