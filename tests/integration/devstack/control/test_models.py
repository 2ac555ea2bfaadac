"""Models: registered from a zip archive, run by services, deleted."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from tests.support.devstack.control_plane import ControlPlaneClient, ControlPlaneFiles, predict, predict_error
from tests.support.devstack.fpga import files, fill, picture
from tests.support.devstack.model_archives import MANIFEST, archive, mean_colour_model


@pytest.fixture(scope="module")
def models(control_files: ControlPlaneFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneClient]:
    """A control plane whose services compute."""
    folder = tmp_path_factory.mktemp("models")
    with (
        control_files.running(folder, engine="model") as running,
        control_files.connect(running.address) as plane,
    ):
        yield plane


Register = Callable[..., Any]


@pytest.fixture
def register(models: ControlPlaneClient, tmp_path: Path) -> Register:
    """Registers an archive."""

    def post(content: bytes, name: str = "mean", **more: Any) -> Any:
        (tmp_path / "model.zip").write_bytes(content)
        url = (tmp_path / "model.zip").as_uri()
        return models.call(
            "POST", "/models", {"name": name, "mimeType": "application/zip", "url": url, "unpack": False, **more}
        )

    return post


def test_a_registered_model_scores_files_and_tensors(models: ControlPlaneClient, register: Register) -> None:
    service = models.create("changing")
    model = register(archive(), name="colours").raise_for_status().json()

    assert models.wait_for_end(models.update(service, modelId=model["id"]))["state"] == "Succeeded"

    assert models.get(f"/services/{service['id']}")["modelId"] == model["id"]
    encoded = models.predict(service, tensor=files(picture(200), picture(100)))
    assert np.reshape(encoded, (2, 3)) == pytest.approx(np.array([[200] * 3, [100] * 3]))
    assert list(models.predict(service, tensor=fill(0.25))) == pytest.approx([0.25] * 3)
    assert models.call("DELETE", f"/models/{model['id']}").status_code == 409, "in use"
    with pytest.raises(grpc.RpcError, match=r"images\[9\] "):
        models.predict(service, tensor=files(*[picture()] * 9, picture()[:40]))


def test_the_manifest_describes_preprocessing_and_input_forms(models: ControlPlaneClient, register: Register) -> None:
    steps = {"mean": [10, 20, 30], "scale": [2, 4, 5], "order": "BGR"}
    scaled = register(archive({**MANIFEST, "preprocessing": steps}), name="scaled").json()
    numeric = register(archive({**MANIFEST, "input": {"name": "pixels", "forms": ["tensor"]}}), name="numeric").json()
    red = io.BytesIO()
    Image.new("RGB", (32, 32), (250, 100, 50)).save(red, "PNG")

    service = models.create("scaled", modelId=scaled["id"])
    assert list(models.predict(service, tensor=files(red.getvalue()))) == pytest.approx([20, 20, 44])
    with models.channel(models.create("numeric", modelId=numeric["id"]), None) as channel:
        assert predict_error(channel, None) is grpc.StatusCode.INVALID_ARGUMENT
        assert list(predict(channel, None, tensor=fill(0.5))) == [0.5] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "damaged"),
        (archive()[:-30], "damaged"),
        (archive(manifest_json=None), "has no manifest.json"),
        (archive({**MANIFEST, "model": "../mean.onnx"}), "model and labels must be names"),
        (archive({**MANIFEST, "input": {"name": "other"}}), "other"),
        (archive({**MANIFEST, "output": {"name": "scores", "form": "votes"}}), "output.form must be one of"),
        (archive({**MANIFEST, "preprocessing": {"scale": [1, 0, 1]}}), "preprocessing.scale must not contain zero"),
        (archive(mean_onnx=b"\xff no model"), "mean.onnx is not an ONNX model"),
        (archive(mean_onnx=mean_colour_model(100)), "one of float [N,224,224,3] is needed"),
        (archive(colours_txt=b"red\ngreen\n"), "has 2 labels, but the output scores has 3 values"),
    ],
)
def test_an_invalid_archive_is_refused_and_leaves_nothing(
    models: ControlPlaneClient, register: Register, content: bytes, message: str
) -> None:
    before = models.get("/models")

    answer = register(content)

    assert (answer.status_code, message in answer.json()["error"]["message"]) == (400, True), answer.text
    assert models.get("/models") == before


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/m.zip", "https://localhost/m.zip", "m.zip", "http://[", "file://host/m", "file:///no/m"]
)
def test_models_are_fetched_from_this_machine_only(register: Register, url: str) -> None:
    assert register(b"", url=url).status_code == 400
