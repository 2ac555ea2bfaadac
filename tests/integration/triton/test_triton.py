"""The gateway before a real Triton with EfficientNet-Lite0: labels, discovery, errors, mutual TLS."""

import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devstack.authority import Authority
from devstack.fpga import Model, ModelEngine, Service
from devstack.photos import photo
from devstack.triton import MODELS
from shared import gateway
from tests.support.app import Response, clear_settings, score
from tests.support.devstack.processes import ServerProcess
from tests.support.protocol_client import ProtocolClient

PHOTOS = {"coffee": "espresso", "rocket": "missile"}


def configure(monkeypatch: pytest.MonkeyPatch, address: str, **settings: str) -> None:
    """A service for each model of the server, with further settings for all of them."""
    clear_settings(monkeypatch)
    monkeypatch.setenv("SERVICES", ",".join(MODELS))
    for model in MODELS:
        values = {
            "ADDRESS": "127.0.0.1",
            "PORT": address.rpartition(":")[2],
            "TLS": "insecure-no-key-is-sent",
            "PROTOCOL": "open-inference",
            "MODEL": model,
            **settings,
        }
        if model.endswith("fp32"):
            values |= {"CHANNEL_MEAN": "127,127,127", "CHANNEL_SCALE": "128,128,128"}
        for key, value in values.items():
            monkeypatch.setenv(f"SERVICE__{model.upper().replace('-', '_')}__{key}", value)


@pytest.fixture
async def services(triton: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    configure(monkeypatch, triton.address)
    yield
    await gateway.forget()


def best(response: Response) -> list[tuple[str, float]]:
    assert response.status == 200, response.body
    [prediction] = response.json["predictions"]
    assert prediction["model_version"] == "1"
    return [(one["label"], one["score"]) for one in prediction["labels"]]


async def upload(name: str, model: str, **query: str) -> Response:
    file = photo(name)
    kind = "image/png" if file.suffix == ".png" else "image/jpeg"
    return await score(file.read_bytes(), kind, service=model, query=query)


@pytest.fixture
async def expected(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The local service's labels for the photographs, by TensorFlow Serving's protocol."""
    engine = ModelEngine()
    service = Service(Model("imagenet", 1, engine.output_shape), engine)
    await service.start()
    clear_settings(monkeypatch)
    monkeypatch.setenv("SERVICES", "fpga")
    for key, value in {"ADDRESS": "127.0.0.1", "PORT": service.port, "TLS": "insecure-no-key-is-sent"}.items():
        monkeypatch.setenv(f"SERVICE__FPGA__{key}", str(value))
    found = {name: best(await upload(name, "fpga")) for name in PHOTOS}
    await gateway.forget()
    await service.stop(0)
    engine.close()
    return found


async def test_every_input_gives_the_labels_of_the_local_service(
    expected: dict[str, Any], triton: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, triton.address)
    for name, label in PHOTOS.items():
        for model in MODELS:
            labels = best(await upload(name, model))
            assert labels[0][0] == label, model
            for (found, value), (wanted, at_best) in zip(labels[:1], expected[name][:1], strict=True):
                assert found == wanted
                # Pixels that are rounded to bytes differ a little from those that are not.
                assert value == pytest.approx(at_best, abs=0.02), model
    await gateway.forget()


def asymmetric(*, swapped: bool = False) -> bytes:
    """Red at the left, blue at the right, a dark corner: swapped channels or axes change what is in it."""
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[:, :112, 0], pixels[:, 112:, 2] = 255, 255
    pixels[:56, :56] = (0, 90, 0)
    out = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 0, 2) if swapped else pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("model", ["nhwc-uint8", "nchw-fp32"])
async def test_channels_and_axes_are_in_their_places(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    async def scores(*, swapped: bool = False) -> np.ndarray[Any, Any]:
        response = await score(asymmetric(swapped=swapped), "image/png", service=model, query={"top": "0"})
        assert response.status == 200, response.body
        return np.array(response.json["predictions"][0]["scores"])

    right = await scores()
    assert np.abs(right - await scores(swapped=True)).max() > 0.02
    await gateway.forget()
    file = await score(asymmetric(), "image/png", service="files", query={"top": "0"})
    assert np.abs(right - np.array(file.json["predictions"][0]["scores"])).max() < 0.005
    await gateway.forget()
    monkeypatch.setenv(f"SERVICE__{model.upper().replace('-', '_')}__CHANNEL_ORDER", "BGR")
    assert np.abs(right - await scores()).max() > 0.02


@pytest.mark.usefixtures("services")
async def test_eight_images_share_a_call() -> None:
    file = photo("coffee").read_bytes()
    form = {"images": [{"name": str(number), "b64": base64.b64encode(file).decode()} for number in range(10)]}

    for model in ("nhwc-uint8", "one-at-a-time"):
        response = await score(json.dumps(form).encode(), "application/json", service=model)
        assert response.status == 200, response.body
        assert [one["labels"][0]["label"] for one in response.json["predictions"]] == ["espresso"] * 10


@pytest.mark.parametrize("form", ["binary", "json", "json-fp32"])
@pytest.mark.usefixtures("services")
async def test_pixels_of_the_model_s_own_datatype_are_passed_on(form: str, triton: ServerProcess) -> None:
    pixels = np.asarray(Image.open(photo("coffee")).convert("RGB").resize((224, 224)))[np.newaxis]
    client = ProtocolClient(triton)  # type: ignore[arg-type] # which only its user looks at
    tensor: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape)}
    headers, rest = {}, b""
    if form == "binary":
        tensor["parameters"], rest = {"binary_data_size": pixels.nbytes}, pixels.tobytes()
    else:
        tensor |= {"data": pixels.tolist(), "datatype": "FP32" if form == "json-fp32" else "UINT8"}
    head = json.dumps({"inputs": [tensor]}).encode()
    if rest:
        headers = {"Inference_Header_Content_Length": str(len(head))}

    response = await client.post("/v2/models/nhwc-uint8/infer", head + rest, **headers)

    assert response.status == 200, response.body
    assert int(np.argmax(response.json["outputs"][0]["data"])) == 967
    metadata = (await client.get("/v2/models/nhwc-uint8")).json
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 224, 224, 3]}]


@pytest.mark.usefixtures("services")
async def test_the_limit_of_batches_and_readiness_are_triton_s_own() -> None:
    for model in MODELS:
        await upload("coffee", model)
    found = {}
    for model in MODELS:
        discovery = gateway.gateway().member(model).upstream.discovery
        assert discovery is not None
        assert discovery.latest is not None
        assert discovery.latest.model is not None
        found[model] = discovery.latest.model.max_batch

    assert found == {"files": 8, "nhwc-uint8": 8, "nchw-fp32": 8, "one-at-a-time": 1}
    assert all(health.ready for health in (await gateway.gateway().health()).values())


@pytest.mark.parametrize(
    ("settings", "problem", "detail"),
    [
        ({"MODEL": "none"}, "service-rejected", "unknown model"),
        ({"MODEL_VERSION": "9"}, "service-rejected", "NOT_FOUND"),
        ({"INPUT_NAME": "x"}, "misconfigured", "INPUT_NAME is 'x'; the model's inputs are: 'image'"),
        ({"OUTPUT_NAME": "x"}, "misconfigured", "OUTPUT_NAME is 'x'; the model's outputs are: 'scores'"),
        ({"INPUT_TYPE": "UINT8"}, "misconfigured", "INPUT_TYPE is UINT8; the model takes BYTES"),
        ({"IMAGE_SIZE": "99"}, "misconfigured", "IMAGE_SIZE is 99; the model takes UINT8 [-1,224,224,3]"),
        ({"INPUT_LAYOUT": "NCHW"}, "misconfigured", "INPUT_LAYOUT is NCHW; the model takes UINT8 [-1,224,224,3]"),
        ({"MAX_BATCH": "9"}, "misconfigured", "MAX_BATCH is 9; the model's own limit is 8"),
    ],
)
async def test_what_does_not_fit_is_named(
    triton: ServerProcess, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], problem: str, detail: str
) -> None:
    configure(monkeypatch, triton.address, **settings)
    model = "nhwc-uint8" if settings.keys() & {"IMAGE_SIZE", "INPUT_LAYOUT"} else "files"

    response = await upload("coffee", model)
    await gateway.forget()

    assert response.problem == problem, response.body
    assert detail in response.json["detail"]


@pytest.mark.usefixtures("services")
async def test_a_file_that_is_no_picture_is_the_client_s_fault() -> None:
    broken = photo("coffee").read_bytes()[:2000]

    response = await score(broken, "image/png", service="files")

    assert response.problem == "damaged-image"


@pytest.mark.usefixtures("triton_environment")
async def test_tls_with_a_named_authority_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.create()
    issued = authority.issue()
    for name, content in {"chain.pem": issued.chain, "key.pem": issued.key, "ca.pem": authority.pem}.items():
        (tmp_path / name).write_bytes(content)
    arguments = ("--certificate", tmp_path / "chain.pem", "--key", tmp_path / "key.pem")
    with ServerProcess("devstack.triton", *arguments, log=tmp_path / "log") as server:
        trust = {"TLS": "required", "TRUST": "public", "TRUST_FILE": str(tmp_path / "ca.pem"), "AUTH": "none"}
        configure(monkeypatch, server.address, ADDRESS="localhost", **trust)
        response = await upload("coffee", "nhwc-uint8")
        await gateway.forget()

    assert best(response)[0][0] == "espresso"


@pytest.mark.usefixtures("services")
async def test_a_tensor_that_is_more_than_a_batch_or_less_than_its_shape(triton: ServerProcess) -> None:
    client = ProtocolClient(triton)  # type: ignore[arg-type] # which only its user looks at
    answers = []
    for images, missing in ((9, 0), (1, 1)):
        content = bytes(images * 224 * 224 * 3 - missing)
        tensor = {"name": "image", "datatype": "UINT8", "shape": [images, 224, 224, 3]}
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}]}).encode()
        length = {"Inference_Header_Content_Length": str(len(head))}
        answers.append(await client.post("/v2/models/nhwc-uint8/infer", head + content, **length))

    batch, short = answers
    assert batch.status == 200
    assert batch.json["outputs"][0]["shape"] == [9, 1000]  # in two calls: the model takes eight
    assert short.status == 400
    assert "needs 150528 bytes; there are 150527" in short.json["error"]
