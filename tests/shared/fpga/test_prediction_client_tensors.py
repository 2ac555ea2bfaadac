"""What the prediction clients send and read, by protobuf's own account."""

import numpy as np
import pytest

from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING, TensorProto, TensorShapeProto
from shared.fpga import prediction_tensors as tensors
from shared.fpga.prediction_errors import AnswerInvalid, MessageTooLarge

NAMES = {"input_name": "images", "model": "", "signature": ""}


def answer(*shape: int, dtype: int = DT_FLOAT, **values: object) -> TensorProto:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
    return TensorProto(dtype=dtype, tensor_shape=dims, **values)  # type: ignore[arg-type]  # numbers and bytes alike


def test_a_file_is_one_string() -> None:
    sent = PredictRequest.FromString(tensors.request(tensors.raw_tensor(b"file", [1], DT_STRING), **NAMES))

    assert sent == PredictRequest(inputs={"images": answer(1, dtype=DT_STRING, string_val=[b"file"])})
    assert not sent.HasField("model_spec")


def test_numbers_are_little_endian_bytes() -> None:
    array = tensors.pixels([[1, 2, 3]])

    sent = PredictRequest.FromString(tensors.request(tensors.numeric_tensor(array), **NAMES))

    assert sent.inputs["images"] == answer(1, 3, tensor_content=b"\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40")


def test_a_model_and_a_signature_are_named_where_they_are_given() -> None:
    tensor = tensors.raw_tensor(b"file", [1], DT_STRING)

    sent = PredictRequest.FromString(tensors.request(tensor, input_name="x", model="cats", signature="encoded"))

    assert (sent.model_spec.name, sent.model_spec.signature_name) == ("cats", "encoded")
    assert list(sent.inputs) == ["x"]


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (answer(1, 2, float_val=[0.25, 0.75]), [[0.25, 0.75]]),
        (answer(1, 2, tensor_content=np.array([0.25, 0.75], "<f4").tobytes()), [[0.25, 0.75]]),
        (answer(2, 2, float_val=[0.5]), [[0.5, 0.5], [0.5, 0.5]]),
        (answer(2, 2, tensor_content=np.array([0.5], "<f4").tobytes()), [[0.5, 0.5], [0.5, 0.5]]),
        (answer(1, 1, 1, 2, float_val=[1, 2]), [[[[1, 2]]]]),
        (answer(float_val=[3]), 3),
        (answer(0, 3), []),
    ],
    ids=["float_val", "tensor_content", "one for all", "one for all, as bytes", "features", "scalar", "none"],
)
def test_both_forms_of_an_answer(tensor: TensorProto, expected: object) -> None:
    values = tensors.values(tensor)

    assert values.tolist() == expected
    assert values.dtype == np.float32
    assert values.shape == tuple(dim.size for dim in tensor.tensor_shape.dim)
    assert values.flags.writeable


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (answer(1, 3, float_val=[1, 2]), r"\[1, 3\] does not fit its 2 values"),
        (answer(1, 3), "does not fit its 0 values"),
        (answer(-1, 2, float_val=[1, 2]), "shape is not known"),
        (TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(unknown_rank=True)), "shape is not known"),
        (answer(1, 1, dtype=DT_DOUBLE, double_val=[1]), "number 2; DT_FLOAT"),
        (answer(1, 1, tensor_content=b"12345"), "no whole number of floats"),
        (answer(2**40, 2**40, float_val=[1]), "does not fit its 1 values"),
    ],
)
def test_answers_that_cannot_be_read(tensor: TensorProto, words: str) -> None:
    with pytest.raises(AnswerInvalid, match=words):
        tensors.values(tensor)


def test_an_answer_that_is_no_message() -> None:
    with pytest.raises(AnswerInvalid, match="no PredictResponse"):
        tensors.output(b"\xff\xff", "output_alias")


def test_an_answer_with_other_outputs() -> None:
    response = PredictResponse(outputs={"b": answer(), "a": answer()}).SerializeToString()

    with pytest.raises(AnswerInvalid, match="'output_alias'; it has: a, b"):
        tensors.output(response, "output_alias")


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_one_image_has_one_answer(shape: tuple[int, ...]) -> None:
    with pytest.raises(AnswerInvalid, match="begins with 1"):
        tensors.only(np.zeros(shape, np.float32))


def test_what_is_too_large_says_how_much_would_fit() -> None:
    tensors.check_size(100, 100)
    with pytest.raises(MessageTooLarge, match=r"101 bytes, and a message 100 at most\. Send fewer"):
        tensors.check_size(101, 100)
    with pytest.raises(MessageTooLarge, match="into which 2 of the 6 images fit"):
        tensors.check_size(300, 100, 6)
