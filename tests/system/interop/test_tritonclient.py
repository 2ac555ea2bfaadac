"""The published Triton client (``tritonclient[http]``), synchronous and for asyncio, with the running gateway."""

import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http.aio as triton  # type: ignore[import-untyped]  # published without type information
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]  # as above

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess

# The index of the best class and its probability.
COFFEE, ROCKET, CHELSEA = [967, 0.951], [657, 0.30], [282, 0.386]
# The last two photographs are JPEGs or have classes with similar scores, for which decoders may differ slightly.
TOLERANCE = 0.03


@pytest.fixture(scope="module")
def session(stack: StackProcess) -> dict[str, Any]:
    """The results of the synchronous client's calls."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.system.interop.triton_session", urlsplit(stack.url).netloc],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert not ended.stderr, ended.stderr
    assert ended.returncode == 0
    results: dict[str, Any] = json.loads(ended.stdout)
    return results


def test_health_and_metadata(session: dict[str, Any]) -> None:
    assert (session["live"], session["ready"]) == (True, True)
    assert session["models ready"] == [True, True, False, False]
    assert session["server"]["extensions"] == ["binary_tensor_data", "classification"]
    assert session["model"] == session["model of a version"]
    assert session["model"]["versions"] == ["1"]
    assert session["model"]["inputs"] == [{"name": "images", "datatype": "BYTES", "shape": [-1]}]
    assert session["model"]["outputs"] == [{"name": "output_alias", "datatype": "FP32", "shape": [-1, 1000]}]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("image", [COFFEE]),
        ("image for a service with tensors", [COFFEE]),
        ("several images", [COFFEE, ROCKET, CHELSEA]),
        ("concurrent requests", [COFFEE, ROCKET, CHELSEA]),
        ("pixels", [COFFEE, ROCKET]),
        ("pixels for a service with tensors", [COFFEE, ROCKET]),
        ("pixels in JSON", [COFFEE]),
        ("more pixels than fit into a message", [COFFEE] * 8),
        ("output in JSON", [COFFEE]),
        ("binary output", [COFFEE]),
        ("gzip", [COFFEE]),
        ("deflate", [COFFEE]),
        ("compressed response accepted", [COFFEE]),
    ],
)
def test_the_best_class_and_its_score(session: dict[str, Any], call: str, expected: list[list[float]]) -> None:
    assert [index for index, _ in session[call]] == [index for index, _ in expected]
    assert [value for _, value in session[call]] == pytest.approx([value for _, value in expected], abs=TOLERANCE)


@pytest.mark.parametrize("call", ["classes", "classes in JSON"])
def test_classification_returns_labels(session: dict[str, Any], call: str) -> None:
    [row] = session[call]

    parts = [text.split(":") for text in row]
    assert [part[1:] for part in parts] == [["967", "espresso"], ["968", "cup"], ["925", "consomme"]]
    assert float(parts[0][0]) == pytest.approx(COFFEE[1], abs=TOLERANCE)


def test_responses_have_the_id_and_the_version(session: dict[str, Any]) -> None:
    assert (session["id"], session["version"]) == ("a request", "1")


@pytest.mark.parametrize(
    ("call", "status", "message"),
    [
        ("unknown model", "404", "no model 'dogs'"),
        ("unknown version", "404", "no version 2"),
        ("unknown input", "400", "'images' is the only input"),
        ("unknown output", "400", "'output_alias' is the only output"),
        ("no image", "400", "The file does not start with the signature"),
        ("not offered", "404", "nothing at /v2/repository/index"),
    ],
)
def test_errors_have_a_status_and_a_message(session: dict[str, Any], call: str, status: str, message: str) -> None:
    assert session[call][0] == status
    assert message in session[call][1]


async def test_the_client_for_asyncio(stack: StackProcess) -> None:
    files = np.array([photo("coffee").read_bytes()], dtype=object)
    tensor = triton.InferInput("images", [1], "BYTES").set_data_from_numpy(files)
    async with triton.InferenceServerClient(urlsplit(stack.url).netloc) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("imagenet")
        assert (await client.get_model_metadata("imagenet-tensor"))["inputs"][0]["datatype"] == "FP32"

        [row] = (await client.infer("imagenet", [tensor], request_compression_algorithm="gzip")).as_numpy(
            "output_alias"
        )
        assert (row.argmax(), row.max()) == (967, pytest.approx(COFFEE[1], abs=TOLERANCE))

        with pytest.raises(InferenceServerException, match="no model 'dogs'"):
            await client.infer("dogs", [tensor])
