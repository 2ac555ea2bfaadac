"""The app is indexed, loaded and invoked by Microsoft's worker library with its full protocol, as in Azure.

The Functions host of the local stack calls the library without protocol messages; these tests use them.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tools import dist, lock

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated messages."""
    folder = tmp_path_factory.mktemp("messages")
    include = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{HERE}", f"-I{include}", f"--python_out={folder}", "function_rpc.proto"]
    assert protoc.main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the app as it is deployed: the unpacked package, read-only."""
    folder = tmp_path_factory.mktemp("wwwroot")
    dist.build(ROOT, lock.LOCK, folder / "app.zip")
    shutil.unpack_archive(folder / "app.zip", folder / "app")
    return folder / "app"


def invoke(
    settings: Mapping[str, str], messages: Path, requests: Sequence[dict[str, Any]], app: Path = ROOT
) -> list[Any]:
    """The indexed functions, and the response to each request."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    ended = subprocess.run(
        [sys.executable, HERE / "worker_host.py", app, messages],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=messages,
        env={**os.environ, **settings},
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_the_worker_indexes_and_invokes_the_app(stack: StackProcess, messages: Path) -> None:
    image = base64.b64encode(photo("coffee").read_bytes()).decode()
    score: dict[str, Any] = {
        "id": "first",
        "function": "score",
        "binding": "req",
        "headers": {"content-type": "image/png"},
    }
    second = {**score, "id": "second", "function": "score_with_service", "params": {"service": "imagenet-tensor"}}
    requests: list[dict[str, Any]] = [
        {**score, "body": image, "query": {"top": "1"}},
        {**second, "body": image, "query": {"top": "1"}},
        {**score, "id": "third"},
        {"id": "fourth", "function": "ready", "binding": "req", "method": "GET"},
    ]

    functions, first, tensor, empty, ready = invoke(stack.settings, messages, requests)

    triggers = {name: next(b for b in bindings if "rigger" in b["type"]) for name, bindings in functions.items()}
    assert triggers["score"]["route"] == "api/score"
    assert triggers["score"]["methods"] == ["POST"]
    assert triggers["score"]["authLevel"] == "FUNCTION"
    assert triggers["ready"]["authLevel"] == "ANONYMOUS"
    assert triggers["warm_up"]["type"] == "warmupTrigger"
    for response in (first, tensor):
        assert response["status"] == "200", response
        assert response["headers"]["content-type"] == "application/json"
        body = json.loads(response["body"])
        assert body["request_id"] == response["id"]
        [label] = body["predictions"][0]["labels"]
        assert (label["label"], label["score"]) == ("espresso", pytest.approx(0.95, abs=0.02))
    assert (empty["status"], empty["headers"]["content-type"]) == ("400", "application/problem+json")
    assert json.loads(ready["body"])["status"] == "ready"


def test_the_package_scores_with_its_own_dependencies(stack: StackProcess, messages: Path, deployed: Path) -> None:
    site = deployed / dist.SITE_PACKAGES
    settings = {
        **stack.settings,
        "KEY_VAULT_CA_FILE": str(ROOT / stack.settings["KEY_VAULT_CA_FILE"]),
        "CONTROL_PLANE_CA_FILE": str(ROOT / stack.settings["CONTROL_PLANE_CA_FILE"]),
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    score: dict[str, Any] = {
        "id": "first",
        "function": "score",
        "binding": "req",
        "headers": {"content-type": "image/png"},
        "query": {"top": "1"},
        "body": base64.b64encode(photo("coffee").read_bytes()).decode(),
    }

    functions, first = invoke(settings, messages, [score], deployed)

    assert {"score", "tf_serving_v1", "ready", "rotate", "vault_event", "warm_up"} <= set(functions)
    assert first["status"] == "200", first
    assert json.loads(first["body"])["predictions"][0]["labels"][0]["label"] == "espresso"
    for name in ("grpc", "google/protobuf", "numpy", "PIL", "cryptography"):
        assert (site / name / "__init__.py").is_file(), name


def test_invalid_settings_are_reported_in_every_response(messages: Path) -> None:
    requests: list[dict[str, Any]] = [
        {
            "id": "first",
            "function": "score",
            "binding": "req",
            "body": "eA==",
            "headers": {"content-type": "image/png"},
        },
        {"id": "second", "function": "ready", "binding": "req", "method": "GET"},
        {"id": "third", "function": "live", "binding": "req", "method": "GET"},
    ]

    _, score, ready, live = invoke({"SERVICES": "cats", "KEY_VAULT_URL": "https://vault"}, messages, requests)

    problems = [json.loads(response["body"]) for response in (score, ready)]
    for response, problem in zip((score, ready), problems, strict=True):
        assert response["status"] == "500"
        assert problem["type"] == "urn:problem-type:scoring-gateway:misconfigured"
    assert problems[0]["settings"] == ["SERVICE__CATS__ADDRESS"]
    assert "SERVICE__CATS" not in ready["body"]  # the request has no key
    assert live["status"] == "200"
