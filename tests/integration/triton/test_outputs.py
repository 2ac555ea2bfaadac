"""The names of Triton's own label file, and its outputs as they are."""

import base64
import json

import pytest

from devstack.photos import photo
from shared import gateway
from shared.scoring import labels
from tests.integration.triton.test_triton import best, configure, upload
from tests.support.devstack.processes import ServerProcess
from tests.support.protocol_client import ProtocolClient


async def test_the_labels_are_those_of_triton_s_label_file(
    triton: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, triton.address)
    expected = {model: best(await upload("coffee", model)) for model in ("files", "nhwc-uint8", "one-at-a-time")}
    await gateway.forget()
    configure(monkeypatch, triton.address, LABELS="service")

    found = {model: best(await upload("coffee", model)) for model in expected}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
    body = {
        "inputs": [{**tensor, "data": [base64.b64encode(photo("coffee").read_bytes()).decode()]}],
        "outputs": [{"name": "scores", "parameters": {"classification": 1}}],
    }
    classes = await ProtocolClient(triton).post("/v2/models/files/infer", body)  # type: ignore[arg-type] # its user's
    await gateway.forget()

    assert found == expected
    assert classes.json["outputs"][0]["data"][0].endswith(":967:espresso")
    assert labels.load("imagenet")[967] == "espresso"


@pytest.mark.parametrize("model", ["files", "nhwc-uint8", "one-at-a-time"])
async def test_outputs_are_as_triton_returns_them(
    triton: ServerProcess, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    configure(monkeypatch, triton.address, OUTPUT="raw")
    image = base64.b64encode(photo("coffee").read_bytes()).decode()

    response = await upload("coffee", model)
    client = ProtocolClient(triton)  # type: ignore[arg-type] # which only its user looks at
    v1 = await client.post(f"/v1/models/{model}:predict", {"instances": [{"b64": image}] * 2})
    metadata = (await client.get(f"/v2/models/{model}")).json
    await gateway.forget()

    [prediction] = json.loads(response.body)["predictions"]
    [output] = prediction["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("scores", "FP32", [1, 1000])
    assert max(range(1000), key=output["data"].__getitem__) == 967
    assert prediction["model_version"] == v1.headers["model-version"] == "1"
    assert [row.index(max(row)) for row in v1.json["predictions"]] == [967, 967]
    assert metadata["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 1000]}]
    # Files are forwarded as they are; pictures are of 224 pixels, of a short side of 400 that became 256.
    assert prediction["placement"]["scale_x"] == (1 if model == "files" else pytest.approx(256 / 400))
