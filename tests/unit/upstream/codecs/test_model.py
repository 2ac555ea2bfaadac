"""What a model takes, from the settings and the service's metadata: what fits, what contradicts, what is ambiguous."""

from typing import Any

import pytest

from shared.errors import Misconfigured
from shared.settings import ServiceSettings, load
from shared.upstream.codecs import ModelInterface, ModelMetadata, TensorMetadata
from shared.upstream.codecs.model import from_metadata, without_metadata

SCORES = (TensorMetadata("scores", "FP32", (-1, 1000)),)


def settings(**settings: Any) -> ServiceSettings:
    own = {f"SERVICE__A__{key}": str(value) for key, value in settings.items()}
    return load(
        {
            "SERVICES": "a",
            "SERVICE__A__ADDRESS": "x",
            "SERVICE__A__TLS": "insecure-no-key-is-sent",
            "SERVICE__A__PROTOCOL": "open-inference",
            "SERVICE__A__MODEL": "m",
            **own,
        }
    ).services["a"]


def discovered(datatype: str, shape: list[int] | None, limit: int | None = None, **own: Any) -> ModelInterface:
    tensor = TensorMetadata("image", datatype, None if shape is None else tuple(shape))
    return from_metadata(settings(**own), ModelMetadata((tensor,), SCORES, limit))


@pytest.mark.parametrize(
    ("datatype", "shape", "own", "sent", "resize"),
    [
        ("UINT8", [-1, 224, 224, 3], {}, (1, 224, 224, 3), 256),
        ("UINT8", [-1, 3, 299, 299], {}, (1, 3, 299, 299), 299),
        ("FP32", [1, 3, 224, 224], {}, (1, 3, 224, 224), 256),
        ("FP16", [3, 224, 224], {}, (3, 224, 224), 256),
        ("FP32", [224, 224, 3], {}, (224, 224, 3), 256),
        ("FP32", [-1, -1, -1, 3], {"IMAGE_SIZE": 299, "IMAGE_RESIZE": 342}, (1, 299, 299, 3), 342),
        ("FP32", [-1, 3, 3, 3], {"INPUT_LAYOUT": "NCHW"}, (1, 3, 3, 3), 256),
        ("FP32", None, {"IMAGE_SIZE": 64}, (1, 64, 64, 3), 256),
        ("BYTES", [-1], {}, (1,), 256),
        ("BYTES", [-1, 1], {}, (1, 1), 256),
        ("BYTES", [1], {}, (1,), 256),
        ("BYTES", [], {}, (), 256),
        # A server that decodes files reports its model's own input.
        ("FP32", [1, 224, 224, 3], {"INPUT_TYPE": "BYTES"}, (1,), 256),
        ("FP32", [1, 224, 224, 3], {"INPUT_FORM": "encoded"}, (1,), 256),
    ],
)
def test_the_shape_that_is_sent(
    datatype: str, shape: list[int] | None, own: dict[str, Any], sent: tuple[int, ...], resize: int
) -> None:
    model = discovered(datatype, shape, **own)

    assert model.shape(1) == sent
    assert model.preprocessing.resize == resize
    assert (model.input_name, model.output_name) == ("image", "scores")


@pytest.mark.parametrize(
    ("datatype", "shape", "own", "fault"),
    [
        ("UINT8", [-1, 3, 299, 299], {"IMAGE_SIZE": 224}, "IMAGE_SIZE is 224; the model takes UINT8 [-1,3,299,299]."),
        ("FP32", [-1, -1, -1, 3], {}, "IMAGE_SIZE is needed: the model takes FP32 [-1,-1,-1,3], pictures of any size."),
        ("FP32", [3, 3, 3], {}, "INPUT_LAYOUT is needed: the model takes FP32 [3,3,3], whose channels"),
        ("FP32", [-1, -1, -1, -1], {}, "INPUT_LAYOUT is needed"),
        ("FP32", [-1, 224, 224, 1], {}, "INPUT_NAME chooses FP32 [-1,224,224,1]; three channels"),
        ("FP32", [-1, 224, 224, 3], {"INPUT_LAYOUT": "NCHW"}, "INPUT_LAYOUT is NCHW; the model takes FP32"),
        ("FP32", [-1, 480, 640, 3], {}, "IMAGE_SIZE is the side of a square"),
        ("FP32", [8, 224, 224, 3], {}, "MAX_BATCH cannot be met: the model takes FP32 [8,224,224,3], always 8 images"),
        ("FP32", [-1, 512], {}, "INPUT_NAME chooses FP32 [-1,512]; a picture has three dimensions"),
        ("INT64", [-1, 224, 224, 3], {}, "INPUT_TYPE is needed: the model takes INT64"),
        ("FP32", [-1, 224, 224, 3], {"INPUT_TYPE": "UINT8"}, "INPUT_TYPE is UINT8; the model takes FP32"),
        ("BYTES", [-1], {"INPUT_FORM": "tensor"}, "INPUT_FORM is tensor; the model takes BYTES [-1], which are files"),
        ("BYTES", [-1, 7], {}, "INPUT_NAME chooses BYTES [-1,7]; one file for an image is needed"),
        ("FP32", [-1, 299, 299, 3], {"IMAGE_RESIZE": 256}, "IMAGE_RESIZE is 256, smaller than the pictures of 299"),
        ("FP32", None, {}, "IMAGE_SIZE is needed: the model takes FP32 of any shape"),
        ("UINT8", [1, 9, 9, 3], {"MAX_BATCH": 4}, "MAX_BATCH is 4; the model takes UINT8 [1,9,9,3], one image"),
        ("UINT8", [-1, 9, 9, 3], {"MAX_BATCH": 16}, "MAX_BATCH is 16; the model's own limit is 8"),
        ("UINT8", [-1, 9, 9, 3], {"INPUT_NAME": "x"}, "INPUT_NAME is 'x'; the model's inputs are: 'image'"),
        ("UINT8", [-1, 9, 9, 3], {"OUTPUT_NAME": "x"}, "OUTPUT_NAME is 'x'; the model's outputs are: 'scores'"),
    ],
)
def test_contradictions_and_ambiguities_name_the_setting(
    datatype: str, shape: list[int] | None, own: dict[str, Any], fault: str
) -> None:
    with pytest.raises(Misconfigured) as caught:
        discovered(datatype, shape, 8, **own)

    assert caught.value.detail.startswith(f"SERVICE__A__{fault}")
    assert caught.value.members == {"settings": [caught.value.detail.split()[0]]}


def test_of_several_inputs_one_must_be_named() -> None:
    two = (TensorMetadata("a", "UINT8", (-1, 9, 9, 3)), TensorMetadata("b", "UINT8", (-1, 9, 9, 3)))

    with pytest.raises(Misconfigured, match="SERVICE__A__INPUT_NAME is needed, because the model has several inputs"):
        from_metadata(settings(), ModelMetadata(two, SCORES))
    assert from_metadata(settings(INPUT_NAME="b"), ModelMetadata(two, SCORES)).input_name == "b"


@pytest.mark.parametrize(
    ("shape", "limit", "own", "together"),
    [
        ([-1, 9, 9, 3], None, {}, 1),
        ([-1, 9, 9, 3], 8, {}, 8),
        ([-1, 9, 9, 3], 8, {"MAX_BATCH": 4}, 4),
        ([-1, 9, 9, 3], None, {"MAX_BATCH": 4}, 4),
        ([1, 9, 9, 3], None, {}, 1),
        ([9, 9, 3], None, {}, 1),
    ],
)
def test_how_many_images_a_call_may_have(
    shape: list[int], limit: int | None, own: dict[str, Any], together: int
) -> None:
    assert discovered("UINT8", shape, limit, **own).max_batch == together


def test_without_metadata_the_settings_must_say_all() -> None:
    with pytest.raises(Misconfigured) as caught:
        without_metadata(settings(OUTPUT_NAME="y"))

    assert caught.value.members == {
        "settings": [f"SERVICE__A__{key}" for key in ("INPUT_NAME", "INPUT_TYPE", "IMAGE_SIZE")]
    }
    model = without_metadata(settings(INPUT_NAME="x", OUTPUT_NAME="y", INPUT_TYPE="UINT8", IMAGE_SIZE="64"))
    assert model.shape(2) == (2, 64, 64, 3)


@pytest.mark.parametrize(
    ("own", "mean", "scale"),
    [
        ({"CHANNEL_MEAN": "imagenet"}, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ({"CHANNEL_SCALE": "tensorflow"}, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
        ({"CHANNEL_MEAN": "none", "CHANNEL_SCALE": "2,2,2"}, (0, 0, 0), (2, 2, 2)),
        ({"CHANNEL_MEAN": "unit"}, (0, 0, 0), (255, 255, 255)),
    ],
)
def test_a_preset_is_meant_for_mean_and_scale(
    own: dict[str, str], mean: tuple[float, ...], scale: tuple[float, ...]
) -> None:
    how = settings(**own).preprocessing

    assert (how.mean, how.scale) == (mean, scale)


def test_metadata_that_describe_no_tensors_leave_all_to_the_settings() -> None:
    """KServe's own server answers so for a model that does not describe itself."""
    image, named = TensorMetadata("image", "UINT8", (-1, 224, 224, 3)), {"OUTPUT_NAME": "scores"}
    nothing = {**named, "INPUT_NAME": "image", "INPUT_TYPE": "UINT8", "IMAGE_SIZE": 224}

    assert from_metadata(settings(**named), ModelMetadata((image,), (), None)).output_name == "scores"
    assert from_metadata(settings(**nothing), ModelMetadata((), (), None)).shape(1) == (1, 224, 224, 3)
    with pytest.raises(Misconfigured, match=r"set SERVICE__A__INPUT_NAME, SERVICE__A__INPUT_TYPE"):
        from_metadata(settings(**named), ModelMetadata((), (), None))
    with pytest.raises(Misconfigured, match="OUTPUT_NAME is needed"):
        from_metadata(settings(), ModelMetadata((image,), (), None))
