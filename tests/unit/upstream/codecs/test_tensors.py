"""Outputs of any datatype and shape, of both protocols and in each of their forms."""

from typing import Any

import numpy as np
import pytest

from protos.open_inference_pb2 import InferTensorContents, ModelInferResponse
from protos.serving_pb2 import PredictResponse
from protos.tensor_pb2 import DT_STRING, TensorProto, TensorShapeProto
from shared.errors import InvalidTensor, ServiceAnswerInvalid
from shared.settings import Datatype, OutputKind, Preprocessing, Protocol, ServiceSettings
from shared.upstream.codecs import ModelInterface, Outputs, Tensor, tensors
from shared.upstream.codecs.open_inference import OpenInferenceCodec
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from shared.upstream.codecs.tensorflow_tensors import DATATYPES
from shared.upstream.codecs.tensors import FORMS, MAX_STRINGS

SETTINGS = ServiceSettings("cats", "x", protocol=Protocol.OPEN_INFERENCE, model="m", output=OutputKind.RAW)
ALL = ModelInterface("images", Datatype.FP32, "", Preprocessing())
# The fields of typed contents.
OPEN_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
TENSORFLOW_FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32", "UINT8", "UINT16"), "int_val"),
    "INT64": "int64_val",
    "UINT32": "uint32_val",
    "UINT64": "uint64_val",
    "FP32": "float_val",
    "FP64": "double_val",
    "FP16": "half_val",
    "BF16": "half_val",
    "BOOL": "bool_val",
}
NUMBERS = {value: key for key, value in DATATYPES.items()}


def values_of(datatype: str) -> np.ndarray[Any, Any]:
    """Six values, the extremes of the type among them."""
    form = np.dtype(FORMS[datatype])
    if form.kind in "iu":
        limits = np.iinfo(form)
        return np.array([limits.min, limits.max, 1, 2, 3, 4], form).reshape(1, 2, 3)
    return np.array([0, 1, 0, 1, 1, 0], form).reshape(1, 2, 3)


def open_response(*outputs: tuple[str, str, tuple[int, ...], bytes], version: str = "7") -> bytes:
    answer = ModelInferResponse(model_version=version)
    for name, datatype, shape, content in outputs:
        answer.outputs.add(name=name, datatype=datatype, shape=shape)
        answer.raw_output_contents.append(content)
    return answer.SerializeToString()


def read(response: bytes, interface: ModelInterface = ALL) -> Outputs:
    return OpenInferenceCodec(SETTINGS, interface).outputs(response)


@pytest.mark.parametrize("datatype", FORMS)
@pytest.mark.parametrize("form", ["raw", "typed"])
def test_every_datatype_of_the_open_inference_protocol(datatype: str, form: str) -> None:
    expected = values_of(datatype)
    answer = ModelInferResponse(model_version="7")
    one = answer.outputs.add(name="x", datatype=datatype, shape=expected.shape)
    if form == "raw":
        answer.raw_output_contents.append(expected.tobytes())
    elif datatype in OPEN_FIELDS:
        one.contents.CopyFrom(InferTensorContents(**{OPEN_FIELDS[datatype]: expected.ravel().tolist()}))
    else:
        with pytest.raises(ServiceAnswerInvalid, match="do not fit"):
            read(answer.SerializeToString())
        return

    found = read(answer.SerializeToString())

    [output] = found.tensors
    assert (output.name, output.datatype, output.shape, found.version) == ("x", datatype, (1, 2, 3), "7")
    np.testing.assert_array_equal(output.values, expected)


@pytest.mark.parametrize("datatype", FORMS)
@pytest.mark.parametrize("form", ["content", "list", "filled"])
def test_every_datatype_of_tensorflow(datatype: str, form: str) -> None:
    expected = values_of(datatype)
    if form == "filled":
        expected = np.full_like(expected, expected.flat[1])
    bits = expected.view("<u2") if datatype in {"FP16", "BF16"} else expected
    listed = bits.ravel().tolist()[: 1 if form == "filled" else None]
    own = {"tensor_content": expected.tobytes()} if form == "content" else {TENSORFLOW_FIELDS[datatype]: listed}
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in expected.shape])
    made = TensorProto(dtype=NUMBERS[datatype], tensor_shape=shape, **own)  # type: ignore[arg-type]
    answer = PredictResponse(outputs={"b": made, "a": made})
    answer.model_spec.version.value = 3
    settings = ServiceSettings("cats", "x", output_name="", output=OutputKind.RAW)

    found = TensorFlowCodec(settings).outputs(answer.SerializeToString())

    assert [one.name for one in found.tensors] == ["a", "b"]
    assert found.version == 3
    for output in found.tensors:
        assert (output.datatype, output.shape) == (datatype, (1, 2, 3))
        np.testing.assert_array_equal(output.values, expected)


def test_strings_of_both_protocols() -> None:
    raw = b"\3\0\0\0cat\0\0\0\0\2\0\0\0\xff\xfe"
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=3)])
    made = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[b"cat", b"", b"\xff\xfe"])
    settings = ServiceSettings("cats", "x", output_name="", output=OutputKind.RAW)

    [one] = read(open_response(("x", "BYTES", (3,), raw))).tensors
    [other] = TensorFlowCodec(settings).outputs(PredictResponse(outputs={"x": made}).SerializeToString()).tensors

    assert one == other == Tensor("x", "BYTES", (3,), [b"cat", b"", b"\xff\xfe"])


def test_one_output_may_be_chosen_and_a_single_picture_has_a_first_dimension() -> None:
    response = open_response(("a", "UINT8", (2,), b"\1\2"), ("b", "UINT8", (2,), b"\3\4"))
    chosen = ModelInterface("images", Datatype.FP32, "b", Preprocessing(), batched=False)

    [one] = read(response, chosen).tensors

    assert (one.name, one.shape) == ("b", (1, 2))
    with pytest.raises(ServiceAnswerInvalid, match="no output 'c'"):
        read(response, ModelInterface("images", Datatype.FP32, "c", Preprocessing()))


@pytest.mark.parametrize(
    ("outputs", "detail"),
    [
        ((), "no output"),
        ((("x", "FP32", (2,), b"1234"),), "4 bytes, which do not fit FP32 [2]"),
        ((("x", "FP32", (-1,), b"1234"),), "do not fit"),
        ((("x", "COMPLEX", (1,), b"1"),), "unknown datatype 'COMPLEX'"),
        ((("x", "UINT8", (1,) * 9, b"1"),), "9 dimensions"),
        ((("x", "BYTES", (1,), b"\5\0\0\0cat"),), "cannot be read"),
        ((("x", "BYTES", (2,), b"\3\0\0\0cat"),), "1 strings"),
        ((("x", "BYTES", (MAX_STRINGS + 1,), b"\0" * 4 * (MAX_STRINGS + 1)),), "cannot be read"),
        ((("x", "UINT8", (600_000,), b"1" * 600_000),) * 2, "1200000 values in all"),
        ((("x", "UINT8", (1,), b"1"),) * 101, "101 outputs"),
        ((("x\x1b[31m", "FP32", (2,), b"1234"),), "The output 'x' has"),
    ],
)
def test_what_does_not_fit_is_named(outputs: Any, detail: str) -> None:
    with pytest.raises(ServiceAnswerInvalid) as caught:
        read(open_response(*outputs))

    assert detail in caught.value.detail


def test_the_outputs_of_several_images_are_divided_and_joined() -> None:
    boxes = np.arange(12, dtype="<f4").reshape(3, 4)
    found = Outputs((Tensor("boxes", "FP32", (3, 4), boxes), Tensor("names", "BYTES", (3,), [b"a", b"b", b"c"])), 1)

    rows = tensors.rows(found, 3)

    assert [(row.tensors[0].shape, row.tensors[1].values) for row in rows] == [
        ((1, 4), [b"a"]),
        ((1, 4), [b"b"]),
        ((1, 4), [b"c"]),
    ]
    again = tensors.joined(rows)
    np.testing.assert_array_equal(again.tensors[0].values, boxes)
    assert again.tensors[1] == found.tensors[1]
    with pytest.raises(ServiceAnswerInvalid, match=r"\[3, 4\] for 2 images"):
        tensors.rows(found, 2)
    ragged = Outputs((Tensor("boxes", "FP32", (2, 4), boxes[:2]),), 1)
    with pytest.raises(InvalidTensor, match="one image in a request"):
        tensors.joined([ragged, ragged])
