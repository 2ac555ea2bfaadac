"""KServe's own server behind an ingress with TLS and a bearer token: typed answers, and what is wrong by its cause."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from devstack.authority import Authority
from protos import open_inference_pb2 as pb
from shared import gateway
from shared.upstream.codecs.open_inference import INFER
from tests.support.app import Response, clear_settings, score
from tests.support.key_vault import IDENTITY_HEADER, LocalVault, running_vault
from tests.support.kserve import running_kserve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the servers' packages are for Linux")

TOKEN, HOST = "a-bearer-token", "quarters.models.example.com"


def asymmetric() -> bytes:
    """Mostly red above at the left, mostly blue below at the right, and grey between."""
    pixels = np.full((16, 16, 3), 128, np.uint8)
    pixels[:8, :8], pixels[8:, 8:] = (255, 51, 0), (0, 102, 204)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalVault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as running:
        running.set("quarters-primary-key", TOKEN)
        running.set("wrong", "another-token")
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def ports(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    issued = authority.issue(["localhost", HOST])
    with running_kserve(tmp_path_factory.mktemp("kserve"), issued, TOKEN, HOST) as found:
        yield found


async def scored(ports: tuple[int, int], variables: pytest.MonkeyPatch, **more: str) -> Response:
    """The answer for the picture, with the settings of docs/services.md and some others."""
    settings = {"PROTOCOL": "open-inference", "ADDRESS": "localhost", "PORT": str(ports[0]), "MODEL": "quarters"}
    settings |= {"TRUST": "public", "AUTH": "bearer", "AUTHORITY": HOST, "IMAGE_RESIZE": "16", **more}
    for key, value in settings.items():
        variables.setenv(f"SERVICE__QUARTERS__{key}", value)
    response = await score(asymmetric(), "image/png", query={"top": "0"})
    await gateway.forget()
    return response


async def test_typed_answers_behind_an_ingress(
    ports: tuple[int, int], vault: LocalVault, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    clear_settings(monkeypatch)
    monkeypatch.setenv("SERVICES", "quarters")
    monkeypatch.setenv("SERVICE__QUARTERS__TRUST_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("KEY_VAULT_URL", vault.address)
    monkeypatch.setenv("KEY_VAULT_CA_FILE", str(vault.ca))
    monkeypatch.setenv("IDENTITY_ENDPOINT", vault.identity)
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)

    response = await scored(ports, monkeypatch)
    assert response.status == 200, response.body
    found = response.json["predictions"][0]["scores"]
    assert found == pytest.approx([1, 0.2, 0, 0, 0.4, 0.8], abs=0.001)
    assert await answer_is_typed(ports[1])

    swapped = await scored(ports, monkeypatch, CHANNEL_ORDER="BGR")
    assert swapped.json["predictions"][0]["scores"] == pytest.approx([0, 0.2, 1, 0.8, 0.4, 0], abs=0.001)
    monkeypatch.delenv("SERVICE__QUARTERS__CHANNEL_ORDER")

    for settings, problem, detail in (
        ({"INPUT_LAYOUT": "NCHW"}, "misconfigured", "INPUT_LAYOUT"),
        ({"INPUT_LAYOUT": "NHWC", "MODEL": "other"}, "service-rejected", "Model with name other does not exist"),
        ({"MODEL": "quarters", "AUTHORITY": "localhost"}, "misconfigured", "AUTHORITY says which one"),
        ({"AUTHORITY": HOST, "PRIMARY_KEY_SECRET": "wrong"}, "keys-refused", ""),
    ):
        response = await scored(ports, monkeypatch, **settings)
        assert response.problem == problem, response.body
        assert detail in response.json["detail"]


async def answer_is_typed(port: int) -> bool:
    """Whether KServe answers a request with raw contents by typed ones."""
    request = pb.ModelInferRequest(model_name="quarters", raw_input_contents=[bytes(16 * 16 * 3)])
    request.inputs.add(name="picture", datatype="UINT8", shape=[1, 16, 16, 3])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER)
        answer = pb.ModelInferResponse.FromString(await call(request.SerializeToString()))
    return not answer.raw_output_contents and len(answer.outputs[0].contents.fp32_contents) == 6
