from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import Int64Value

from devstack.fpga import requests
from devstack.fpga.requests import Model, Refusal
from protos import serving_pb2, tensor_pb2
from tests.devstack.fpga.wire import files, fill, picture, pixels, request, shape

MODEL = Model("imagenet", 3, (1000,))
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def refused(function: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(Refusal) as caught:
        function(*arguments)
    return caught.value.code, caught.value.details


@pytest.mark.parametrize(
    "spec",
    [
        serving_pb2.ModelSpec(),
        serving_pb2.ModelSpec(name="imagenet"),
        serving_pb2.ModelSpec(name="imagenet", version=Int64Value(value=3)),
        serving_pb2.ModelSpec(signature_name="serving_default"),
        serving_pb2.ModelSpec(signature_name="encoded_images"),
    ],
)
def test_a_request_may_name_the_model_or_not(spec: serving_pb2.ModelSpec) -> None:
    requests.check_spec(spec, MODEL)


@pytest.mark.parametrize(
    ("spec", "code", "details"),
    [
        (
            serving_pb2.ModelSpec(name="resnet"),
            grpc.StatusCode.NOT_FOUND,
            "model 'resnet' is not served here; 'imagenet' is",
        ),
        (
            serving_pb2.ModelSpec(version=Int64Value(value=4)),
            grpc.StatusCode.NOT_FOUND,
            "model 'imagenet' has no version 4; it has 3",
        ),
        (
            serving_pb2.ModelSpec(version_label="stable"),
            grpc.StatusCode.NOT_FOUND,
            "model 'imagenet' has no version labelled 'stable'",
        ),
        (
            serving_pb2.ModelSpec(signature_name="classify"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "signature 'classify' is not found; there are serving_default, encoded_images",
        ),
    ],
)
def test_a_request_for_another_model_is_refused(
    spec: serving_pb2.ModelSpec, code: grpc.StatusCode, details: str
) -> None:
    assert refused(requests.check_spec, spec, MODEL) == (code, details)


@pytest.mark.parametrize("names", [[], ["output_alias"]])
def test_a_filter_may_ask_for_the_output_or_for_all(names: list[str]) -> None:
    requests.check_filter(names)


@pytest.mark.parametrize("names", [["other"], ["output_alias", "other"], ["output_alias", "output_alias"], [""]])
def test_a_filter_for_anything_else_is_refused(names: list[str]) -> None:
    code, details = refused(requests.check_filter, names)
    assert (code, "output_filter names" in details) == (INVALID, True)


@pytest.mark.parametrize("names", [[], ["signature"], ["signature_def", "more"]])
def test_metadata_that_does_not_exist_is_refused(names: list[str]) -> None:
    assert refused(requests.check_metadata_fields, names)[0] == INVALID


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_image_files_are_handed_on_as_they_are(form: str) -> None:
    images = [picture(1, form), picture(2, form)]
    assert requests.batch_of(request(files(*images))) == images


def test_pixels_are_read_from_tensor_content() -> None:
    values = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    np.testing.assert_array_equal(requests.batch_of(request(pixels(values))), values)


def test_pixels_are_read_from_float_val() -> None:
    values = np.arange(224 * 224 * 3, dtype=np.float32)
    tensor = tensor_pb2.TensorProto(dtype="DT_FLOAT", tensor_shape=shape(1, 224, 224, 3), float_val=values.tolist())
    np.testing.assert_array_equal(requests.batch_of(request(tensor)), values.reshape(1, 224, 224, 3))


def test_a_single_value_stands_for_all() -> None:
    batch = requests.batch_of(request(fill(0.5, (2, 224, 224, 3))))
    assert isinstance(batch, np.ndarray)
    assert batch.shape == (2, 224, 224, 3)
    assert np.all(batch == 0.5)


def with_(tensor: tensor_pb2.TensorProto, **fields: Any) -> tensor_pb2.TensorProto:
    changed = tensor_pb2.TensorProto()
    changed.CopyFrom(tensor)
    changed.MergeFrom(tensor_pb2.TensorProto(**fields))
    return changed


@pytest.mark.parametrize(
    ("inputs", "cause"),
    [
        ({}, "input 'images' is missing"),
        ({"image": fill(0)}, "input 'image' is not known; the only input is 'images'"),
        ({"images": fill(0), "more": fill(0)}, "input 'more' is not known"),
        ({"images": tensor_pb2.TensorProto()}, "has type DT_INVALID; DT_FLOAT or DT_STRING"),
        ({"images": with_(fill(0), dtype=tensor_pb2.DT_DOUBLE)}, "has type DT_DOUBLE"),
        ({"images": with_(fill(0), dtype=19)}, "has type number 19"),
        ({"images": fill(0, (224, 224, 3))}, "has shape [224, 224, 3]; [N,224,224,3] is expected"),
        ({"images": fill(0, (1, 3, 224, 224))}, "has shape [1, 3, 224, 224]"),
        ({"images": fill(0, (1, 299, 299, 3))}, "has shape [1, 299, 299, 3]"),
        ({"images": fill(0, ())}, "has shape []"),
        ({"images": fill(0, (0, 224, 224, 3))}, "holds 0 images"),
        ({"images": fill(0, (-1, 224, 224, 3))}, "holds -1 images"),
        ({"images": fill(0, (10**9, 224, 224, 3))}, "holds 1000000000 images; from 1 to 1024"),
        ({"images": with_(fill(0), tensor_content=bytes(8))}, "needs 602112 bytes of tensor_content, not 8"),
        (
            {"images": with_(fill(0), float_val=[1])},
            "(or one for all) in float_val, or tensor_content; float_val holds 2",
        ),
        ({"images": tensor_pb2.TensorProto(dtype="DT_FLOAT", tensor_shape=shape(1, 224, 224, 3))}, "float_val holds 0"),
        (
            {"images": tensor_pb2.TensorProto(dtype="DT_FLOAT", tensor_shape={"unknown_rank": True}, float_val=[0])},
            "its rank is unknown",
        ),
        ({"images": files()}, "holds 0 images"),
        ({"images": with_(files(picture()), string_val=[picture()])}, "has shape [1] but 2 values in string_val"),
        ({"images": with_(files(picture()), tensor_shape=shape(1))}, "of type DT_STRING has shape [1, 1]; [N]"),
        ({"images": files(picture(), b"GIF89a")}, "images[1] is neither a JPEG nor a PNG file"),
        ({"images": files(b"")}, "images[0] is neither"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_cause(inputs: dict[str, Any], cause: str) -> None:
    code, details = refused(requests.batch_of, serving_pb2.PredictRequest(inputs=inputs))
    assert code == INVALID
    assert cause in details


def test_bytes_that_are_no_message_are_refused() -> None:
    assert refused(requests.read, serving_pb2.PredictRequest, b"\xff\xff") == (
        INVALID,
        "the request is not a tensorflow.serving.PredictRequest message",
    )
