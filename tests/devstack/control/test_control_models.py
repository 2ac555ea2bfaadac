"""Models: registered from a zip archive, run by services, deleted."""

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devstack.authority import Issued
from tests.devstack.control.plane import Files, Json, Plane, fails_with, predict, wanted
from tests.devstack.fpga.wire import files as image_files
from tests.devstack.fpga.wire import fill, picture

MANIFEST: Json = {
    "format": 1,
    "model": "mean.onnx",
    "labels": "colours.txt",
    "input": {"name": "pixels", "forms": ["encoded", "tensor"]},
    "output": {"name": "scores", "form": "logits"},
    "preprocessing": {"mean": [0, 0, 0], "scale": [1, 1, 1], "order": "RGB"},
}


def mean_colour(side: int = 224, inputs: tuple[str, ...] = ("pixels",)) -> bytes:
    """A model whose three scores are the means of the three channels."""
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side, side, 3]) for name in inputs]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])
    node = helper.make_node("ReduceMean", [inputs[0]], ["scores"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph([node], "mean", declared, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def archive(manifest: Any = None, **members: bytes | None) -> bytes:
    """An archive of the above, with members replaced by their names (``_`` for ``.``), or left out by None."""
    contents: dict[str, bytes | None] = {
        "manifest.json": json.dumps(MANIFEST if manifest is None else manifest).encode(),
        "mean.onnx": mean_colour(),
        "colours.txt": b"red\ngreen\nblue\n",
    }
    contents |= {name.replace("_", "."): content for name, content in members.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            if content is not None:
                packed.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def models(control_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane whose services compute."""
    folder = tmp_path_factory.mktemp("models")
    with (
        control_files.running(folder, engine="model") as running,
        control_files.plane(running.address) as plane,
    ):
        yield plane


Register = Callable[..., Any]


@pytest.fixture
def register(models: Plane, tmp_path: Path) -> Register:
    """Registers the archive of the given bytes."""

    def post(content: bytes, name: str = "mean", **more: Any) -> Any:
        (tmp_path / "model.zip").write_bytes(content)
        url = (tmp_path / "model.zip").as_uri()
        return models.call(
            "POST", "/models", {"name": name, "mimeType": "application/zip", "url": url, "unpack": False, **more}
        )

    return post


def told(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in ("InvalidModelPackage", "BadRequest")
    message: str = answer.json()["error"]["message"]
    return message


def test_the_local_model_is_there_from_the_start_and_knows_what_it_sees(models: Plane, certificate: Issued) -> None:
    assert models.get("/models")["value"][0]["id"] == "imagenet"
    one = models.create("imagenet-one", certificate)
    two = models.create("imagenet-two")

    scores = models.predict(one, models.keys(one)[0], certificate.certificate)

    assert len(scores) == 1000
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    # The two share one engine.
    assert models.predict(two) == scores


def test_a_registered_model_scores(models: Plane, register: Register) -> None:
    model = register(archive(), name="colours").raise_for_status().json()
    service = models.create("colours", modelId=model["id"])

    encoded = models.predict(service, tensor=image_files(picture(200), picture(100)))
    numeric = models.predict(service, tensor=fill(0.25))

    assert np.reshape(encoded, (2, 3)) == pytest.approx(np.array([[200] * 3, [100] * 3]))
    assert list(numeric) == pytest.approx([0.25] * 3)


def test_an_image_is_scaled_as_the_manifest_says(models: Plane, register: Register) -> None:
    steps = {"mean": [10, 20, 30], "scale": [2, 4, 5], "order": "BGR"}
    model = register(archive({**MANIFEST, "preprocessing": steps}), name="scaled").json()
    service = models.create("scaled", modelId=model["id"])
    from PIL import Image

    red = io.BytesIO()
    Image.new("RGB", (32, 32), (250, 100, 50)).save(red, "PNG")

    assert list(models.predict(service, tensor=image_files(red.getvalue()))) == pytest.approx([20, 20, 44])


def test_a_form_that_the_model_does_not_take_is_refused(models: Plane, register: Register) -> None:
    manifest = {**MANIFEST, "input": {"name": "pixels", "forms": ["tensor"]}}
    model = register(archive(manifest), name="numeric").json()
    service = models.create("numeric", modelId=model["id"])

    with models.channel(service, None) as channel:
        assert fails_with(channel, None) is grpc.StatusCode.INVALID_ARGUMENT
        assert list(predict(channel, None, tensor=fill(0.5))) == [0.5] * 3


def test_an_image_that_cannot_be_read_is_named_by_its_number(models: Plane, register: Register) -> None:
    service = models.create("unreadable", modelId=register(archive(), name="unreadable").json()["id"])
    broken = picture()[:40]

    with pytest.raises(grpc.RpcError) as caught:
        models.predict(service, tensor=image_files(*[picture()] * 9, broken))

    assert "images[9] " in str(caught.value)


def test_versions_of_one_name_are_counted(register: Register) -> None:
    assert [register(archive(), name="counted").json()["version"] for _ in range(2)] == [1, 2]
    assert register(archive(), name="imagenet").json()["version"] == 2


def test_a_service_is_given_another_model(models: Plane, register: Register) -> None:
    service = models.create("changing")
    model = register(archive(), name="other").json()

    assert models.ended(models.update(service, modelId=model["id"]))["state"] == "Succeeded"

    assert len(models.predict(service)) == 3
    assert models.get(f"/services/{service['id']}")["modelId"] == model["id"]


def test_a_model_in_use_is_not_deleted(models: Plane, register: Register) -> None:
    model = register(archive(), name="used").json()
    service = models.create("user", modelId=model["id"])

    assert models.call("DELETE", f"/models/{model['id']}").status_code == 409
    models.ended(models.call("DELETE", f"/services/{service['id']}"))
    assert models.call("DELETE", f"/models/{model['id']}").status_code == 204
    assert models.call("DELETE", f"/models/{model['id']}").status_code == 404
    assert models.call("POST", "/services", wanted(name="late", modelId=model["id"])).status_code == 400


def test_a_model_that_an_operation_is_about_to_run_is_not_deleted(models: Plane, register: Register) -> None:
    model = register(archive(), name="awaited").json()
    service = models.create("awaiting")
    models.switch({"mode": "hang", "count": 1})
    update = models.update(service, modelId=model["id"])

    assert models.call("DELETE", f"/models/{model['id']}").status_code == 409

    models.switch()
    assert models.ended(update)["state"] == "Cancelled"
    assert models.call("DELETE", f"/models/{model['id']}").status_code == 204


def test_the_built_in_model_is_never_deleted(models: Plane) -> None:
    assert models.call("DELETE", "/models/imagenet").status_code == 409


def test_a_restart_finds_a_model_again(control_files: Files, tmp_path: Path) -> None:
    (tmp_path / "m.zip").write_bytes(archive())
    document = {"name": "kept", "mimeType": "application/zip", "url": (tmp_path / "m.zip").as_uri(), "unpack": False}
    with control_files.running(tmp_path, engine="model") as first, control_files.plane(first.address) as plane:
        model = plane.call("POST", "/models", document).json()
        plane.create("kept", modelId=model["id"])

    # The simulated engine answers in the model's shape.
    with control_files.running(tmp_path) as second, control_files.plane(second.address) as plane:
        (service,) = plane.get("/services")["value"]
        assert len(plane.predict(service, tensor=fill(0.5))) == 3


@pytest.fixture
def web() -> Iterator[str]:
    """A web server on loopback that has an archive at ``/model.zip``, and redirects from ``/away``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/model.zip"
            self.send_response(200 if found else 302 if self.path == "/away" else 404)
            self.send_header("Location", "/model.zip")
            self.end_headers()
            if found:
                self.wfile.write(archive())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_model_is_fetched_from_a_web_server_of_this_machine(web: str, register: Register) -> None:
    assert register(b"", name="fetched", url=f"{web}/model.zip").status_code == 200
    assert "answered 404" in told(register(b"", url=f"{web}/other.zip"))
    assert "answered 302" in told(register(b"", url=f"{web}/away"))


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1/m.zip", "https://localhost/m.zip", "ftp://localhost/m", "m.zip", "file://host/m", "http://["],
)
def test_nothing_is_fetched_from_elsewhere(register: Register, url: str) -> None:
    assert "url" in told(register(b"", url=url))


def test_a_file_that_is_not_there_is_named(register: Register) -> None:
    assert told(register(b"", url="file:///nowhere/m.zip")) == "there is no file /nowhere/m.zip"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"mimeType": "text/html"}, "mimeType"),
        ({"unpack": True}, "unpack"),
    ],
)
def test_a_wrong_registration_is_told_what_is_wrong(register: Register, change: Json, word: str) -> None:
    assert word in told(register(archive(), **change))


def test_a_damaged_archive_is_told_so(register: Register) -> None:
    whole = archive()
    middle = whole.index(b"mean.onnx") + 60

    assert "damaged" in told(register(b"no zip"))
    assert "damaged" in told(register(whole[:-30]))
    assert "damaged" in told(register(whole[:middle] + b"\xff\xff\xff" + whole[middle + 3 :]))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"manifest_json": None}, "has no manifest.json"),
        ({"manifest_json": b"{"}, "manifest.json is not JSON"),
        ({"mean_onnx": None}, "has no mean.onnx"),
        ({"mean_onnx": b"\xff no model"}, "mean.onnx is no ONNX model"),
        ({"mean_onnx": mean_colour(100)}, "one of float [N,224,224,3] is needed"),
        ({"mean_onnx": mean_colour(inputs=("pixels", "more"))}, "has the inputs ['more', 'pixels']"),
        ({"colours_txt": None}, "has no colours.txt"),
        ({"colours_txt": b"red\ngreen\n"}, "has 2 labels, but the output scores has 3 values"),
        ({"colours_txt": b"red\n\nblue\n"}, "empty line"),
        ({"colours_txt": b"\xff"}, "not UTF-8"),
    ],
)
def test_what_is_wrong_with_an_archive_is_named(register: Register, members: dict[str, bytes], message: str) -> None:
    found = told(register(archive(**members)))

    assert message in found
    assert "/models/" not in found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 2}, "format"),
        ({"model": "../mean.onnx"}, '"model"'),
        ({"labels": 3}, '"labels"'),
        ({"input": None}, '"input"'),
        ({"input": {"name": "other"}}, "other"),
        ({"input": {"name": "pixels", "forms": []}}, '"forms"'),
        ({"output": {"name": "none", "form": "logits"}}, "none"),
        ({"output": {"name": "scores", "form": "votes"}}, '"form"'),
        ({"preprocessing": {"mean": [1, 2]}}, '"mean"'),
        ({"preprocessing": {"scale": [1, 0, 1]}}, '"scale"'),
        ({"preprocessing": {"order": "HSV"}}, '"order"'),
    ],
)
def test_what_is_wrong_with_a_manifest_is_named(register: Register, change: Json, word: str) -> None:
    assert word in told(register(archive({**MANIFEST, **change})))


def test_weights_outside_the_file_are_refused(register: Register) -> None:
    outside = onnx.ModelProto.FromString(mean_colour())
    weight = outside.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret")

    assert "single file" in told(register(archive(mean_onnx=outside.SerializeToString())))


def test_nothing_of_a_refused_model_stays(models: Plane, register: Register) -> None:
    before = models.get("/models")

    told(register(archive(colours_txt=None)))

    assert models.get("/models") == before
