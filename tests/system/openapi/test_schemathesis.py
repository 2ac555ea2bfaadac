"""The running gateway matches its OpenAPI document: schemathesis generates requests and checks every response.

``schemathesis.toml`` configures it, ``schemathesis_hooks.py`` adds data that it cannot generate from the document, and
``accepted_failures.py`` lists the correct responses that it reports as failures. The stack runs with function keys and
the simulated engine.
"""

import json
import secrets
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.photos import photo
from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.system.openapi import accepted_failures, schemathesis_run
from tests.system.openapi.schemathesis_run import Run

DOCUMENT = json.loads((ROOT / "web" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item}

# The local service has no labels for its versions, so that every response is 404.
WITHOUT_SUCCESS = {name for name in OPERATIONS if "{label}" in name}

# All checks of single responses, and one of schemathesis_hooks.py. missing_required_header and use_after_free never
# fail: no header is required, and nothing can be deleted.
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
    "problem_type_conformance",
}

pytestmark = pytest.mark.timeout(schemathesis_run.TIMEOUT + 60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A complete run of schemathesis with a separate stack."""
    folder = tmp_path_factory.mktemp("openapi")
    options = ("--enable-auth", "--engine", "simulated", "--latency-ms", "0")
    golden = dict.fromkeys(("SERVICE__IMAGENET__GOLDEN", "SERVICE__IMAGENET_TENSOR__GOLDEN"), str(_golden(folder)))
    metrics = secrets.token_hex(16)
    with StackProcess(folder / "stack", *options, environment={**golden, "METRICS_KEY": metrics}) as up:
        up.until_serving()
        keys = {**json.loads((up.folder / "host-keys.json").read_text()), "metrics": metrics}
        yield schemathesis_run.run(up.addresses()["Web page"].rstrip("/"), folder, keys)
        up.signal(signal.SIGINT)
        assert up.wait_for_end() == 0
        # No request caused an unexpected exception.
        assert "internal-error" not in up.err


def _golden(folder: Path) -> Path:
    """A folder with one golden photograph, which matches whatever the simulated engine makes of it."""
    golden = folder / "golden"
    golden.mkdir()
    shutil.copyfile(photo("logo2"), golden / "logo.png")
    expected = {"photographs": {"logo.png": {"class": 0, "score": 0.5, "tolerance": 1}}}
    (golden / "expected.json").write_text(json.dumps(expected))
    return golden


def test_no_response_contradicts_the_document(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{run.summary()}")

    assert (run.code, run.report["failures"], run.report["errors"]) == (0, [], []), run.output
    assert run.report["complete"]


def test_every_operation_was_tested_with_every_check(run: Run) -> None:
    assert run.report["operations"]["tested"] == len(OPERATIONS)
    assert {name: one["status"] for name, one in run.report["phases"].items()} == {
        "examples": "success",
        "coverage": "success",
        "fuzzing": "success",
        "stateful": "skip",
    }
    assert run.passed_checks.keys() >= CHECKS
    # Accepted failures are rare.
    assert run.report["filtered"] < run.report["test_cases"]["generated"] / 10


def test_every_operation_succeeded(run: Run) -> None:
    """Valid requests lead to success, not only to documented errors."""
    assert {name for name in OPERATIONS if not run.successes[name]} == WITHOUT_SUCCESS


@pytest.mark.parametrize(
    ("status", "timeout", "is_accepted"),
    [(504, "1", True), (504, "9999", True), (504, "10000", False), (504, "", False), (503, "1", False)],
)
def test_only_a_deadline_that_the_request_set_is_accepted(status: int, timeout: str, is_accepted: bool) -> None:
    assert accepted_failures.is_requested_timeout(status, timeout) is is_accepted


def test_a_form_of_the_documented_form_may_have_too_many_images() -> None:
    content = b'{"type":"urn:problem-type:scoring-gateway:too-many-images"}'
    assert accepted_failures.has_too_many_images(413, content)
    assert not accepted_failures.has_too_many_images(400, content)
    assert not accepted_failures.has_too_many_images(413, b"{}")


def test_only_an_empty_401_is_accepted_without_a_content_type() -> None:
    assert accepted_failures.is_empty_401(401, b"")
    assert not accepted_failures.is_empty_401(401, b"x")
    assert not accepted_failures.is_empty_401(403, b"")


@pytest.mark.parametrize(
    ("path", "status", "content", "is_accepted"),
    [
        ("/v1/models/{model}", 400, b'{"error":"Malformed request: PUT /v1/models/x"}', False),
        ("/v1/models/{model}", 404, b"", True),
        ("/v2/models/{model}", 404, b"", True),
        ("/v2/models/{model}", 404, b'{"error":"There is nothing"}', False),
        ("/v2/models/{model}", 400, b'{"error":"Malformed request: PUT /v2"}', False),
        ("/v2/health/live", 401, b"", True),
        ("/v2/health/live", 200, b"{}", False),
        ("/", 200, b"<title>Function app</title>", True),
        ("/", 200, b"<title>Scoring gateway</title>", False),
        ("/api/score", 404, b"", True),
        ("/api/score", 200, b"", False),
    ],
)
def test_only_the_known_rejections_of_a_method_are_accepted(
    path: str, status: int, content: bytes, is_accepted: bool
) -> None:
    assert accepted_failures.is_method_rejection(path, status, content) is is_accepted
