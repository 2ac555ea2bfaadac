"""Requests and responses of the clients, compared with the gateway's definitions of the same messages."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.message import Message
from prediction_client import predict_pb2, tensors
from prediction_client.errors import AnswerInvalid, MessageTooLarge
from prediction_client.tensors import Codec

from protos.serving_pb2 import ModelSpec, PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING, TensorProto, TensorShapeProto

CODEC = Codec("images", "output_alias", "", "", message_bytes=4096)
PIXELS = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3)


def tensor(*shape: int, dtype: int = DT_FLOAT, **values: object) -> TensorProto:
    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
    return TensorProto(dtype=dtype, tensor_shape=dims, **values)  # type: ignore[arg-type]  # numbers and bytes alike


def response(output: TensorProto) -> bytes:
    return PredictResponse(outputs={"output_alias": output}).SerializeToString()


@pytest.mark.parametrize(
    ("own", "gateways"),
    [
        (predict_pb2.TensorProto, TensorProto),
        (predict_pb2.TensorShapeProto, TensorShapeProto),
        (predict_pb2.TensorShapeProto.Dim, TensorShapeProto.Dim),
        (predict_pb2.ModelSpec, ModelSpec),
        (predict_pb2.PredictRequest, PredictRequest),
        (predict_pb2.PredictResponse, PredictResponse),
    ],
)
def test_fields_are_declared_as_in_the_gateway(own: type[Message], gateways: type[Message]) -> None:
    def declared(message: type[Message]) -> set[tuple[str, int, int, int]]:
        described = DescriptorProto()
        message.DESCRIPTOR.CopyToProto(described)
        return {(each.name, each.number, each.type, each.label) for each in described.field}

    assert declared(own) <= declared(gateways)


def test_a_file_is_sent_as_a_string_tensor() -> None:
    sent = PredictRequest.FromString(CODEC.encoded(b"file"))

    assert sent == PredictRequest(inputs={"images": tensor(1, dtype=DT_STRING, string_val=[b"file"])})
    assert not sent.HasField("model_spec")


def test_numbers_are_sent_as_little_endian_bytes() -> None:
    sent = PredictRequest.FromString(CODEC.numeric([[1, 2, 3]]))

    assert sent.inputs["images"] == tensor(1, 3, tensor_content=b"\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40")


@pytest.mark.parametrize(
    "array",
    [
        PIXELS.astype(np.float64),
        PIXELS.astype(np.int32),
        np.asfortranarray(PIXELS),
        PIXELS.astype(">f4"),
        np.repeat(PIXELS, 2, axis=1)[:, ::2],
    ],
    ids=["double", "integer", "Fortran order", "big-endian", "strided view"],
)
def test_equal_numbers_make_equal_requests_in_every_memory_layout(array: npt.ArrayLike) -> None:
    assert CODEC.numeric(array) == CODEC.numeric(PIXELS)


def test_a_tensor_of_another_type_is_sent_as_its_bytes() -> None:
    sent = PredictRequest.FromString(CODEC.raw(b"\1\2\3\4\5\6\7\10", [1], DT_DOUBLE))

    assert sent.inputs["images"] == tensor(1, dtype=DT_DOUBLE, tensor_content=b"\1\2\3\4\5\6\7\10")


def test_an_unknown_data_type_is_sent_with_its_number() -> None:
    assert PredictRequest.FromString(CODEC.raw(b"\0\0", [1], 19)).inputs["images"].dtype == 19


def test_model_and_signature_are_sent_if_configured() -> None:
    codec = replace(CODEC, input_name="x", model_name="cats", signature_name="encoded")

    sent = PredictRequest.FromString(codec.encoded(b"file"))

    assert (sent.model_spec.name, sent.model_spec.signature_name) == ("cats", "encoded")
    assert list(sent.inputs) == ["x"]


def test_non_numeric_arrays_are_rejected() -> None:
    with pytest.raises(TypeError, match="real numbers is required, and this one holds <U1"):
        CODEC.numeric(np.array(["a", "b"]))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (tensor(1, 2, float_val=[0.25, 0.75]), [[0.25, 0.75]]),
        (tensor(1, 2, tensor_content=np.array([0.25, 0.75], "<f4").tobytes()), [[0.25, 0.75]]),
        (tensor(2, 2, float_val=[0.5]), [[0.5, 0.5], [0.5, 0.5]]),
        (tensor(2, 2, tensor_content=np.array([0.5], "<f4").tobytes()), [[0.5, 0.5], [0.5, 0.5]]),
        (tensor(1, 1, 1, 2, float_val=[1, 2]), [[[[1, 2]]]]),
        (tensor(float_val=[3]), 3),
        (tensor(0, 3), []),
    ],
    ids=["float_val", "tensor_content", "repeated value", "repeated value as bytes", "features", "scalar", "empty"],
)
def test_outputs_are_parsed_in_every_form(output: TensorProto, expected: object) -> None:
    values = CODEC.batch(response(output))

    assert values.tolist() == expected
    assert values.dtype == np.float32
    assert values.shape == tuple(dim.size for dim in output.tensor_shape.dim)
    assert values.flags.writeable


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (tensor(1, 3, float_val=[1, 2]), r"\[1, 3\] does not fit its 2 values"),
        (tensor(1, 3), "does not fit its 0 values"),
        (tensor(-1, 2, float_val=[1, 2]), "shape is not known"),
        (TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(unknown_rank=True)), "shape is not known"),
        (tensor(1, 1, dtype=DT_DOUBLE, double_val=[1]), "number 2; DT_FLOAT"),
        (tensor(1, 1, tensor_content=b"12345"), "not a whole number of floats"),
        (tensor(2**40, 2**40, float_val=[1]), "does not fit its 1 values"),
    ],
)
def test_invalid_outputs_are_rejected(output: TensorProto, message: str) -> None:
    with pytest.raises(AnswerInvalid, match=message):
        CODEC.batch(response(output))


def test_a_tensor_is_returned_unchanged() -> None:
    output = CODEC.output(response(tensor(1, 2, dtype=DT_STRING, string_val=[b"a", b"b"])))

    assert output.dtype == predict_pb2.DT_STRING
    assert [dim.size for dim in output.tensor_shape.dim] == [1, 2]
    assert list(output.string_val) == [b"a", b"b"]


def test_invalid_responses_are_rejected() -> None:
    with pytest.raises(AnswerInvalid, match="not a PredictResponse"):
        CODEC.output(b"\xff\xff")
    with pytest.raises(AnswerInvalid, match="'output_alias'; it has: a, b"):
        CODEC.output(PredictResponse(outputs={"b": tensor(), "a": tensor()}).SerializeToString())


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_the_output_of_one_image_must_have_one_row(shape: tuple[int, ...]) -> None:
    with pytest.raises(AnswerInvalid, match="must start with 1"):
        CODEC.single(response(tensor(*shape, float_val=np.zeros(shape, np.float32).ravel())))


def test_an_oversized_message_names_the_limit() -> None:
    tensors.check_size(100, 100)
    with pytest.raises(MessageTooLarge, match=r"101 bytes, and a message 100 at most\. Send fewer"):
        tensors.check_size(101, 100)
    with pytest.raises(MessageTooLarge, match="at most; 2 of the 6 images fit"):
        tensors.check_size(300, 100, 6)
