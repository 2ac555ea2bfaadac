"""The running gateway, held against its own document by schemathesis: whatever may be asked, no answer contradicts it.

``schemathesis.toml`` says how it tries, ``tuning.py`` what it could not know, ``excuses.py`` which answers are let pass
that it takes for failures. The stack is whole and healthy, with function keys, and scores by the simulated engine.
"""

import json
import signal
from collections.abc import Iterator

import pytest

from functions import openapi_document
from tests.devstack.stacks import Up
from tests.openapi import excuses, trial
from tests.openapi.trial import Trial

DOCUMENT = openapi_document.build()
OPERATIONS = {
    f"{method.upper()} {path}": found
    for path, item in DOCUMENT["paths"].items()
    for method, found in item.items()
    if "operationId" in found
}

# The local service has no labels for its versions: 404 is all there is.
UNREACHED = {name for name in OPERATIONS if "{label}" in name}

# Those that speak of every answer. Of the rest, missing_required_header has nothing to look at (no header is required),
# and use_after_free neither (nothing can be deleted).
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
}

pytestmark = pytest.mark.timeout(trial.PATIENCE + 60)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A whole run of schemathesis against a stack of its own."""
    folder = tmp_path_factory.mktemp("openapi")
    with Up(folder / "stack", "--enable-auth", "--engine", "simulated", "--latency-ms", "0") as up:
        up.until_serving()
        keys = json.loads((up.folder / "host-keys.json").read_text())
        yield trial.run(up.addresses()["Web page"].rstrip("/"), folder, keys)
        up.signal(signal.SIGINT)
        assert up.ended() == 0
        # It was tried hard, and nothing unforeseen came of it.
        assert "internal-error" not in up.err


def test_no_answer_contradicts_the_document(tried: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{tried.summary()}")

    assert (tried.code, tried.report["failures"], tried.report["errors"]) == (0, [], []), tried.printed
    assert tried.report["complete"]


def test_every_operation_was_tried_by_every_check(tried: Trial) -> None:
    assert tried.report["operations"]["tested"] == len(OPERATIONS)
    assert {name: one["status"] for name, one in tried.report["phases"].items()} == {
        "examples": "success",
        "coverage": "success",
        "fuzzing": "success",
        "stateful": "skip",
    }
    assert tried.checks.keys() >= CHECKS
    # What may be excused is not the rule.
    assert tried.report["filtered"] < tried.report["test_cases"]["generated"] / 10


def test_every_operation_was_reached_and_did_its_work(tried: Trial) -> None:
    """Requests that keep to the document get further than to a refusal."""
    assert {name for name in OPERATIONS if not tried.accepted[name]} == UNREACHED


@pytest.mark.parametrize(
    ("status", "timeout", "is_excused"),
    [(504, "1", True), (504, "9999", True), (504, "10000", False), (504, "", False), (503, "1", False)],
)
def test_only_a_deadline_that_the_request_set_itself_may_pass(status: int, timeout: str, is_excused: bool) -> None:
    assert excuses.wanted_it_sooner(status, timeout) is is_excused


@pytest.mark.parametrize(
    ("path", "status", "content", "is_excused"),
    [
        ("/v1/models/{model}", 400, b'{"error":"Malformed request: PUT /v1/models/x"}', True),
        ("/v1/models/{model}", 400, b'{"error":"another"}', False),
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
def test_only_those_before_the_gateway_refuse_a_method_in_their_own_way(
    path: str, status: int, content: bytes, is_excused: bool
) -> None:
    assert excuses.refuses_the_method(path, status, content) is is_excused
