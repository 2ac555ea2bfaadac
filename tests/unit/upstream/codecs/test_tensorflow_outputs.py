"""TensorFlow Serving's codec: versions and labels in requests, outputs of any shape."""

from typing import Any

import numpy as np
import pytest

from protos.serving_pb2 import ModelSpec, PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid
from shared.settings import ServiceSettings
from shared.upstream.codecs import Selector
from shared.upstream.codecs.tensorflow import TensorFlowCodec

CODEC_SETTINGS = ServiceSettings("cats", "x", model="m", input_name="x", output_name="out")

NUMBERS = np.random.default_rng(5).random((20, 16, 40), np.float32)


def codec() -> TensorFlowCodec:
    return TensorFlowCodec(CODEC_SETTINGS)


def response(values: np.ndarray[Any, np.dtype[np.float32]], version: int | None = None) -> bytes:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=dims, float_val=values.ravel().tolist())
    spec = ModelSpec(name="m")
    if version is not None:
        spec.version.value = version
    return PredictResponse(outputs={"out": tensor}, model_spec=spec).SerializeToString()


@pytest.mark.parametrize(
    ("selector", "version", "label"),
    [
        (Selector(version=7), 7, ""),
        (Selector(version=0), 0, ""),
        (Selector(label="stable"), None, "stable"),
        (Selector(), None, ""),
    ],
)
def test_a_requested_version_or_label_is_sent(selector: Selector, version: int | None, label: str) -> None:
    requests = codec().requests(selector)

    spec = PredictRequest.FromString(requests.encoded([b"a"])).model_spec

    assert (spec.version.value if spec.HasField("version") else None) == version
    assert spec.version_label == label


@pytest.mark.parametrize("shape", [(1, 40), (16, 40), (4, 1, 1, 160), (640,)])
def test_an_output_has_its_shape_and_version(shape: tuple[int, ...]) -> None:
    reader = codec()

    for number, numbers in enumerate(NUMBERS):
        values = numbers.ravel()[: np.prod(shape)].reshape(shape)
        for version in (None, number % 3):
            output = reader.output(response(values, version), shape[0])
            assert np.array_equal(output.values, values)
            assert output.values.shape == shape
            assert output.version == version


def test_outputs_of_different_batch_sizes_are_parsed() -> None:
    reader = codec()
    for numbers in NUMBERS:
        for rows in range(1, 17):
            assert np.array_equal(reader.output(response(numbers[:rows], 1), rows).values, numbers[:rows])
        assert np.array_equal(reader.scores(response(numbers[:1], 1)), numbers[0])


def test_more_response_layouts_than_are_cached() -> None:
    reader = codec()
    sizes = [*range(8, 100), *range(8, 100)]
    row = np.arange(100, dtype=np.float32)
    for size in sizes:
        assert np.array_equal(reader.output(response(row[np.newaxis, :size]), 1).values, row[np.newaxis, :size])


@pytest.mark.parametrize(
    ("shape", "rows", "detail"), [((2, 40), 1, "is needed"), ((1, 40), 2, "is needed"), ((1, 0), 1, "is empty")]
)
def test_an_output_with_the_wrong_number_of_rows_is_rejected(shape: tuple[int, ...], rows: int, detail: str) -> None:
    with pytest.raises(ServiceAnswerInvalid, match=detail):
        codec().output(response(np.ones(shape, np.float32)), rows)
