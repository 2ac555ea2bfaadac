"""Tensors on the wire as models are called with them: versions, numbers that are bytes, outputs of any shape."""

from typing import Any

import numpy as np
import pytest

from protos.serving_pb2 import ModelSpec, PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid
from shared.scoring.tensors import AnswerReader, RequestTemplate

NUMBERS = np.random.default_rng(5).random((20, 16, 40), np.float32)


def answer(values: np.ndarray[Any, np.dtype[np.float32]], version: int | None = None) -> bytes:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=dims, float_val=values.ravel().tolist())
    spec = ModelSpec(name="m")
    if version is not None:
        spec.version.value = version
    return PredictResponse(outputs={"out": tensor}, model_spec=spec).SerializeToString()


@pytest.mark.parametrize(
    ("chosen", "version", "label"),
    [({"version": 7}, 7, ""), ({"version": 0}, 0, ""), ({"version_label": "stable"}, None, "stable"), ({}, None, "")],
)
def test_a_version_or_a_label_is_named_where_it_is_asked_for(
    chosen: dict[str, Any], version: int | None, label: str
) -> None:
    template = RequestTemplate(model="m", signature="", input_name="x", **chosen)

    spec = PredictRequest.FromString(template.encoded([b"a"])).model_spec

    assert (spec.version.value if spec.HasField("version") else None) == version
    assert spec.version_label == label


def test_numbers_that_are_bytes_already_travel_as_they_are() -> None:
    template = RequestTemplate(model="m", signature="s", input_name="x")
    pixels = NUMBERS[0]

    assert template.floats(pixels.shape, memoryview(pixels).cast("B")) == template.tensor(pixels)
    assert template.floats((1, 2), bytes(8)) == template.tensor(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("shape", [(1, 40), (16, 40), (4, 1, 1, 160), (640,)])
def test_an_output_keeps_its_shape_and_tells_its_version(shape: tuple[int, ...]) -> None:
    reader = AnswerReader("out")

    for number, numbers in enumerate(NUMBERS):
        values = numbers.ravel()[: np.prod(shape)].reshape(shape)
        for version in (None, number % 3):
            output = reader.output(answer(values, version), shape[0])
            assert np.array_equal(output.values, values)
            assert output.values.shape == shape
            assert output.version == version


def test_batches_of_several_sizes_are_never_taken_for_one_another() -> None:
    reader = AnswerReader("out")
    for numbers in NUMBERS:
        for rows in range(1, 17):
            assert np.array_equal(reader.output(answer(numbers[:rows], 1), rows).values, numbers[:rows])
        assert np.array_equal(reader.scores(answer(numbers[:1], 1)), numbers[0])


def test_more_kinds_of_answers_than_are_remembered() -> None:
    reader = AnswerReader("out")
    sizes = [*range(8, 100), *range(8, 100)]
    row = np.arange(100, dtype=np.float32)
    for size in sizes:
        assert np.array_equal(reader.output(answer(row[np.newaxis, :size]), 1).values, row[np.newaxis, :size])


@pytest.mark.parametrize(("shape", "rows"), [((2, 40), 1), ((1, 40), 2), ((1, 0), 1)])
def test_an_output_with_other_rows_than_were_sent(shape: tuple[int, ...], rows: int) -> None:
    with pytest.raises(ServiceAnswerInvalid, match="is needed"):
        AnswerReader("out").output(answer(np.ones(shape, np.float32)), rows)
