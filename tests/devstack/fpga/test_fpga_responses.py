import numpy as np
import pytest

from devstack.fpga import responses
from devstack.fpga.requests import Model
from protos import serving_pb2, tensor_pb2
from tests.devstack.fpga.wire import scores

MODEL = Model("imagenet", 3, (1000,))


@pytest.mark.parametrize("shape", [(1, 1000), (5, 1000), (1, 2), (2, 1, 1, 2048)])
def test_a_prediction_is_what_protobuf_would_have_written(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    response = serving_pb2.PredictResponse.FromString(responses.prediction(responses.spec(MODEL), values))
    np.testing.assert_array_equal(scores(response), values)
    expected = serving_pb2.PredictResponse(
        outputs={
            "output_alias": tensor_pb2.TensorProto(
                dtype=tensor_pb2.DT_FLOAT,
                tensor_shape=tensor_pb2.TensorShapeProto(
                    dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
                ),
                float_val=values.ravel().tolist(),
            )
        },
        model_spec=responses.spec(MODEL),
    )
    assert response == expected


def test_a_prediction_says_what_answered() -> None:
    spec = serving_pb2.PredictResponse.FromString(
        responses.prediction(responses.spec(MODEL, "encoded_images"), None)
    ).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("imagenet", 3, "encoded_images")


def test_a_prediction_without_output_has_none() -> None:
    response = serving_pb2.PredictResponse.FromString(responses.prediction(responses.spec(MODEL), None))
    assert dict(response.outputs) == {}


def test_metadata_describes_both_kinds_of_input() -> None:
    answer = responses.metadata(Model("features", 1, (1, 1, 2048)))
    signatures = serving_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    described = {
        name: (tensor_pb2.DataType.Name(tensor.dtype), [dim.size for dim in tensor.tensor_shape.dim])
        for name, signature in signatures.signature_def.items()
        for tensor in signature.inputs.values()
    }
    assert described == {
        "serving_default": ("DT_FLOAT", [-1, 224, 224, 3]),
        "encoded_images": ("DT_STRING", [-1]),
    }
    output = signatures.signature_def["serving_default"].outputs["output_alias"]
    assert [dim.size for dim in output.tensor_shape.dim] == [-1, 1, 1, 2048]
    assert signatures.signature_def["serving_default"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(("available", "state"), [(True, "AVAILABLE"), (False, "UNLOADING")])
def test_status_tells_whether_calls_are_taken(available: bool, state: str) -> None:
    (version,) = responses.status(MODEL, available=available).model_version_status
    assert version.version == 3
    assert serving_pb2.ModelVersionStatus.State.Name(version.state) == state
