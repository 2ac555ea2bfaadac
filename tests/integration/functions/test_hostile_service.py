"""An inference service that is hostile or broken: what it sends is bounded, and spoils nothing of the others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import azure.functions as func
import pytest
from grpc import StatusCode

from functions import health
from functions import score as scoring
from protos.serving_pb2 import GetModelMetadataResponse, GetModelStatusResponse, SignatureDefMap
from shared import gateway
from shared.upstream.codecs.health import HEALTH
from shared.upstream.codecs.tensorflow import METADATA, PREDICT, STATUS
from tests.support.app import PICTURE, Response, call_function, score, serve
from tests.support.hostile_service import (
    HostileService,
    Refusal,
    empty_entries,
    hostile_service,
    many_dimensions,
    many_outputs,
)
from tests.support.inference_service import StartService
from tests.support.protocol_client import ProtocolClient, error_message

# Characters of an answer or a line of the log, however much the service sends.
SHORT = 1500

ESCAPES = "\x1b[31mred\x1b[0m \x1b]0;title\x07\r\nWARNING forged line\u202e \x9b2J"


class Hostile(Protocol):
    """Starts a service with these answers as ``bad``, beside a sound one as ``good``."""

    async def __call__(self, answers: Mapping[str, bytes | Refusal]) -> HostileService: ...


@pytest.fixture
async def hostile(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hostile]:
    async with AsyncExitStack() as stack:

        async def started(answers: Mapping[str, bytes | Refusal]) -> HostileService:
            bad = await stack.enter_async_context(hostile_service(answers))
            serve((await start(tls=False)).port, monkeypatch, good="encoded", bad="encoded")
            monkeypatch.setenv("SERVICE__BAD__PORT", str(bad.port))
            return bad

        yield started
        await gateway.forget()


def check(response: Response, caplog: pytest.LogCaptureFixture, *repeated: str) -> None:
    """Check that the answer and each line of the log are short and printable, and that some text is in both."""
    assert len(response.body) < SHORT
    for line in caplog.messages:
        assert line.isprintable()
        assert len(line) < SHORT
    for text in repeated:
        assert text in response.body.decode()
        assert text in caplog.text


# --- What is bounded before it is parsed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (many_dimensions(100_000), "The PredictResponse has more than 10000 fields."),
        (many_dimensions(1_000), "The output's shape has 1000 dimensions; 8 are accepted."),
        (many_dimensions(65, 1), "The output's shape has 65 dimensions; 8 are accepted."),
        (many_dimensions(8), "does not fit its 2 values."),
        (empty_entries(4_000_000), "The PredictResponse has more than 10000 fields."),
        (empty_entries(64 * 1024 * 1024), "The response is larger than the messages that the gateway accepts."),
        (many_outputs([f"name {index}".encode() for index in range(20_000)]), "has more than 10000 fields."),
        (b"\x0b" * 1000, "The response is not a PredictResponse."),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "The response is not a PredictResponse."),
    ],
    ids=["dimensions", "1000 dimensions", "65 dimensions", "product", "entries", "length", "names", "groups", "number"],
)
async def test_a_response_is_bounded_before_it_is_parsed(
    hostile: Hostile, caplog: pytest.LogCaptureFixture, response: bytes, detail: str
) -> None:
    await hostile({PREDICT: response})

    answer = await score(PICTURE, "image/jpeg", service="bad")

    assert (answer.status, answer.problem) == (502, "service-answer-invalid")
    assert answer.json["detail"].endswith(detail)
    check(answer, caplog)
    assert (await score(PICTURE, "image/jpeg", service="good")).status == 200


@pytest.mark.parametrize("path", ["/v1/models/bad", "/v1/models/bad/metadata", "/v2/models/bad"])
@pytest.mark.parametrize(
    "response", [empty_entries(200_000), empty_entries(2_000_000), b"\xff"], ids=["entries", "length", "garbage"]
)
async def test_a_description_is_bounded_before_it_is_parsed(hostile: Hostile, path: str, response: bytes) -> None:
    bad = await hostile({STATUS: response, METADATA: response})

    answer = await ProtocolClient(bad).get(path)  # type: ignore[arg-type] # it is not called itself

    assert "(service-answer-invalid, request" in error_message(answer, 502)


# --- What is repeated ----------------------------------------------------------------------------------------------


async def test_names_of_outputs_are_printable_and_few(hostile: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    await hostile({PREDICT: many_outputs([f"{index:04} {ESCAPES} {'x' * 300}".encode() for index in range(3_000)])})

    answer = await score(PICTURE, "image/jpeg", service="bad")

    assert answer.problem == "service-answer-invalid"
    assert answer.json["detail"].count("red WARNING forged line") == 5
    check(answer, caplog, "and 2995 more")


async def test_details_are_printable_and_short(hostile: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    await hostile({PREDICT: Refusal(StatusCode.INTERNAL, f"{ESCAPES} 10.1.2.3:8500 {'x' * 4000}")})

    answer = await score(PICTURE, "image/jpeg", service="bad")

    assert answer.problem == "service-failed"
    assert "10.1.2.3" not in answer.body.decode() + caplog.text
    check(answer, caplog, "The service responded with INTERNAL: red WARNING forged line (address) xxx")


async def test_a_versions_message_has_no_inner_addresses(hostile: Hostile) -> None:
    statuses = GetModelStatusResponse()
    for text in (f"{ESCAPES} no route to tfs-0.models.svc.cluster.local, 10.1.2.3:8500 or fd00::12:1", "x" * 100_000):
        statuses.model_version_status.add(version=1, state=30).status.error_message = text
    bad = await hostile({STATUS: statuses.SerializeToString()})

    answer = await ProtocolClient(bad).get("/v1/models/bad")  # type: ignore[arg-type] # as above

    first, second = (one["status"]["error_message"] for one in answer.json["model_version_status"])
    assert first == "red WARNING forged line no route to (address), (address) or (address)"
    assert len(second) == 400


async def test_the_names_of_a_models_signatures_are_printable(hostile: Hostile) -> None:
    definitions = SignatureDefMap()
    definitions.signature_def["serving_default"].inputs[ESCAPES].name = "call:10"
    definitions.signature_def["x" * 100_000].method_name = ESCAPES
    metadata = GetModelMetadataResponse()
    metadata.metadata["signature_def"].Pack(definitions)
    bad = await hostile({METADATA: metadata.SerializeToString()})

    answer = await ProtocolClient(bad).get("/v1/models/bad/metadata")  # type: ignore[arg-type] # as above

    found = answer.json["metadata"]["signature_def"]["signature_def"]
    assert [*found["serving_default"]["inputs"]] == ["red WARNING forged line"]
    assert found["serving_default"]["inputs"]["red WARNING forged line"]["name"] == "call:10"
    assert len(answer.body) < SHORT


# --- Other services' answers ---------------------------------------------------------------------------------------


def anonymous(path: str) -> func.HttpRequest:
    return func.HttpRequest("GET", f"http://localhost{path}", body=b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"\x08\x4d",
        b"\xff\xff",
        b"\x0a\x00" * 600,
        b"\x08\x01" * 20,
        Refusal(StatusCode.DATA_LOSS, ESCAPES),
        Refusal(StatusCode.UNKNOWN, "x" * 4000),
    ],
    ids=["unknown enum", "garbage", "length", "entries", "status", "details"],
)
async def test_one_services_health_does_not_spoil_anothers(
    hostile: Hostile, caplog: pytest.LogCaptureFixture, answer: bytes | Refusal
) -> None:
    bad = await hostile({HEALTH: answer})
    client = ProtocolClient(bad)  # type: ignore[arg-type] # as above

    ready = await call_function(health.ready, anonymous("/api/health/ready"))
    details = await call_function(health.service_health, anonymous("/api/health/services"))
    services = await call_function(scoring.services, anonymous("/api/services"))

    for response in (ready, details):
        assert response.status == 503
        assert response.json["services"]["good"]["status"] == "ready"
        assert response.json["services"]["bad"]["problem"]["type"].rpartition(":")[2] in {
            "service-answer-invalid",
            "service-failed",
        }
        check(response, caplog)
    assert [one["status"] for one in services.json["services"]] == ["ready", "not-ready"]
    assert (await client.get("/v2/health/ready")).json == {"ready": False}
    assert (await client.get("/v2/models/good/ready")).json["ready"]
    assert not (await client.get("/v2/models/bad/ready")).json["ready"]
    await gateway.gateway().connect()


async def test_readiness_without_a_key_shares_an_answer(hostile: Hostile) -> None:
    bad = await hostile({HEALTH: b"\x08\x01"})
    client: Any = ProtocolClient(bad)  # type: ignore[arg-type] # as above

    answers = await asyncio.gather(
        *(call_function(health.ready, anonymous("/api/health/ready")) for _ in range(50)),
        *(client.get("/v2/health/ready") for _ in range(50)),
    )
    again = [await call_function(health.ready, anonymous("/api/health/ready")) for _ in range(10)]

    assert {answer.status for answer in (*answers, *again)} == {200}
    # Two, where more than a second passed.
    assert len(bad.calls) <= 2


async def test_the_log_has_one_line_for_each_record(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("scoring_gateway").warning("of a service: %s", ESCAPES)

    assert caplog.messages == ["of a service: red WARNING forged line"]
