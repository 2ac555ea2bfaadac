"""Failures of the service, the network, Key Vault and the identity: each response names its cause."""

import asyncio
import datetime as dt
import json
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import Endpoint, Service
from devstack.fpga.faults import Faults
from functions.http.problems import respond
from shared import gateway
from shared.errors import Misconfigured, SecretMissing
from shared.gateway import SHARED_SECONDS
from tests.support.app import PICTURE, App, score, until
from tests.support.devstack.processes import unused_port, wait_until_async
from tests.support.documented_errors import matches_example
from tests.support.inference_service import StartService

# Much longer than the deadlines in these tests, but shorter than the service's default of ten seconds.
TIME_LIMIT = 5.0

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


# --- The service ---------------------------------------------------------------------------------


@pytest.fixture
def served(app: App, service: Service, issued: Issued) -> Service:
    """The running service of the app."""
    app.serve(service, issued)
    return service


async def test_a_stopped_service_is_unreachable(app: App) -> None:
    app.configure(SERVICE__CATS__PORT=str(unused_port()))

    response = await app.score(Request_Timeout_Ms="1500")

    assert response.status == 503
    assert matches_example("service-unreachable", response.json)
    assert response.headers["retry-after"] == "1"


async def test_a_name_that_does_not_resolve_is_an_error(app: App) -> None:
    app.configure(SERVICE__CATS__ADDRESS="unknown.invalid")

    response = await app.score()

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert matches_example("service-name-unresolved", response.json)


async def test_a_proxy_that_refuses_is_an_error(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        response = await app.score()

    assert response.status == 503
    assert matches_example("proxy-refused", response.json)


async def test_a_server_without_http2_is_an_error(app: App, issued: Issued, tmp_path: Path) -> None:
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "leaf.key")

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    app.vault.set("cats-pins", app.authority.pem.decode())
    async with await asyncio.start_server(read, "127.0.0.1", 0, ssl=context) as server:
        app.configure(SERVICE__CATS__PORT=str(server.sockets[0].getsockname()[1]), SERVICE__CATS__ADDRESS="127.0.0.1")
        response = await app.score()

    assert response.status == 502
    assert matches_example("service-without-http2", response.json)


async def test_a_slow_service_exceeds_its_deadline(app: App, served: Service) -> None:
    served.set_faults(Faults(delay_ms=1000))
    app.configure(SERVICE__CATS__DEADLINE_MS="200")
    began = time.monotonic()

    response = await app.score()

    assert response.status == 504
    assert matches_example("deadline-exceeded", response.json)
    assert time.monotonic() - began < TIME_LIMIT


async def test_the_clients_deadline_is_sent_to_the_service(app: App, served: Service) -> None:
    await app.score()
    served.set_faults(Faults(hang=True))
    began = time.monotonic()
    for milliseconds in (50, 100, 200, 300):
        response = await app.score(Request_Timeout_Ms=str(milliseconds))
        assert (response.status, response.problem) == (504, "deadline-exceeded")
        assert response.json["detail"] == "The deadline passed while the service was scoring."

    assert time.monotonic() - began < TIME_LIMIT
    # The service received the remaining time (which gRPC rounds up a little), not the default of ten seconds.
    assert all(seen.timeout is not None and seen.timeout < 1 for seen in list(served.recorder.calls)[-4:])


async def test_a_server_that_never_responds_exceeds_the_deadline(app: App) -> None:
    async def never_respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        writer.close()

    async with await asyncio.start_server(never_respond, "127.0.0.1", 0) as server:
        app.configure(SERVICE__CATS__PORT=str(server.sockets[0].getsockname()[1]))
        response = await app.score(Request_Timeout_Ms="1000")
        assert (response.status, response.problem) == (504, "deadline-exceeded")
        server.close_clients()


async def test_requests_succeed_within_a_second_after_an_outage(app: App, served: Service) -> None:
    await app.score()
    await served.stop(0)
    for _ in range(3):
        assert (await app.score()).problem == "service-unreachable"
    assert (await app.ready()).status == 503

    await served.start()

    async def scored() -> bool:
        return (await app.score()).status == 200

    async def ready() -> bool:
        return (await app.ready()).status == 200

    await until(scored, 1)
    await until(ready, SHARED_SECONDS + 1)


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        (lambda _: {"certificate": Authority.create().issue()}, "service-untrusted"),
        (lambda ca: {"certificate": ca.issue(not_before=NOW - 2 * DAY, valid_for=DAY)}, "service-certificate-expired"),
        (lambda ca: {"certificate": ca.issue(["dogs.example.com"])}, "service-name-mismatch"),
        (lambda _: {"tls": False}, "service-without-tls"),
    ],
    ids=["unknown issuer", "expired", "wrong name", "without TLS"],
)
async def test_a_failed_handshake_is_an_error(
    app: App, start: StartService, options: Callable[[Authority], dict[str, Any]], slug: str
) -> None:
    service = await start(**options(app.authority))
    app.vault.set("cats-pins", app.authority.pem.decode())
    app.configure(SERVICE__CATS__PORT=str(service.port))

    response = await app.score()

    assert response.status == 502
    assert matches_example(slug, response.json)


@pytest.mark.usefixtures("served")
async def test_withdrawn_trust_is_in_the_responses_and_in_the_health(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """The service still answers over the connection that is open."""
    app.configure(CREDENTIALS_REFRESH_SECONDS="1", SERVICE__CATS__ADDRESS="127.0.0.1")
    assert (await app.score()).status == 200
    app.vault.set("cats-pins", Authority.create().pem.decode())

    async def refused() -> bool:
        return (await app.score()).problem == "service-untrusted"

    await until(refused, 3)
    response, health = await app.score(), await app.health()

    assert "Trust was withdrawn from" in response.json["detail"]
    cats = health.json["services"]["cats"]
    assert health.status == 503
    assert "Trust was withdrawn from" in cats["problem"]["detail"]
    assert "trust was withdrawn from" in caplog.text


@pytest.mark.parametrize(
    ("fault", "detail"),
    [
        ("missing_output", "The response has no output 'output_alias'"),
        ("wrong_shape", "The output's shape"),
        ("nan", "The output contains values that are not finite"),
    ],
)
async def test_an_invalid_response_of_the_service_is_an_error(
    app: App, served: Service, fault: Any, detail: str
) -> None:
    served.set_faults(Faults(answer=fault))

    response = await app.score()

    assert (response.status, response.problem) == (502, "service-answer-invalid")
    assert detail in response.json["detail"]
    assert fault != "missing_output" or matches_example("service-answer-invalid", response.json)


@pytest.mark.parametrize(
    ("code", "status", "slug"),
    [
        ("INTERNAL", 502, "service-failed"),
        ("RESOURCE_EXHAUSTED", 503, "service-busy"),
        ("UNAUTHENTICATED", 502, "keys-refused"),
    ],
)
async def test_an_error_status_of_the_service_is_an_error(
    app: App, served: Service, code: str, status: int, slug: str
) -> None:
    served.set_faults(Faults(fail_next=9, fail_with=code))

    response = await app.score()

    assert response.status == status
    assert matches_example(slug, response.json)


async def test_requests_beyond_the_concurrency_limit_are_rejected(app: App, served: Service) -> None:
    served.set_faults(Faults(hang=True))
    app.configure(SERVICE__CATS__DEADLINE_MS="3000", SERVICE__CATS__MAX_CONCURRENCY="16")
    in_progress = [asyncio.create_task(app.score()) for _ in range(16)]
    await wait_until_async(lambda: len(served.recorder.calls) == 16, "all calls have arrived")

    response = await app.score()

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert matches_example("overloaded", response.json)
    assert not any(task.done() for task in in_progress), "the rejection waited for a request in progress"
    # The requests in progress end at their deadline, and release their permits.
    assert {one.status for one in await asyncio.gather(*in_progress)} == {504}
    served.set_faults(Faults())
    assert (await app.score()).status == 200


async def test_a_cancelled_request_releases_its_permit(app: App, served: Service) -> None:
    served.set_faults(Faults(hang=True))
    app.configure(SERVICE__CATS__MAX_CONCURRENCY="1")
    cancelled = asyncio.create_task(app.score())
    await wait_until_async(lambda: served.recorder.calls, "the call has arrived")
    assert (await app.score()).problem == "overloaded"

    cancelled.cancel()
    await asyncio.wait({cancelled})
    served.set_faults(Faults())

    assert (await app.score()).status == 200


async def test_each_service_has_its_own_concurrency_limit(app: App, served: Service, start: StartService) -> None:
    served.set_faults(Faults(hang=True))
    quick = await start()
    app.configure(
        SERVICES="cats,dogs",
        SERVICE__CATS__MAX_CONCURRENCY="1",
        SERVICE__DOGS__ADDRESS="localhost",
        SERVICE__DOGS__PORT=str(quick.port),
        SERVICE__DOGS__PRIMARY_KEY_SECRET="cats-primary-key",
        SERVICE__DOGS__SECONDARY_KEY_SECRET="cats-secondary-key",
        SERVICE__DOGS__PINS_SECRET="cats-pins",
    )
    waiting = asyncio.create_task(app.score())
    await wait_until_async(lambda: served.recorder.calls, "the call has arrived")

    assert (await app.score()).problem == "overloaded"
    assert (await score(PICTURE, "image/jpeg", service="dogs")).status == 200
    waiting.cancel()
    await asyncio.wait({waiting})


@pytest.mark.usefixtures("served")
async def test_an_unknown_model_is_rejected(app: App) -> None:
    app.configure(SERVICE__CATS__MODEL="dogs", SERVICE__CATS__INPUT_FORM="tensor")

    response = await app.score()

    assert response.status == 502
    assert matches_example("service-rejected", response.json)
    assert "NOT_FOUND" in response.json["detail"]


async def test_a_message_larger_than_the_services_limit_is_rejected(
    app: App, start: StartService, issued: Issued
) -> None:
    app.serve(await start(endpoint=Endpoint(message_limit=500)), issued)

    response = await app.score()

    assert response.status == 413
    assert matches_example("message-too-large", response.json)


@pytest.mark.usefixtures("served")
async def test_a_body_for_which_there_is_no_memory_now_is_refused(app: App) -> None:
    app.configure(IMAGE_MEMORY_BYTES="16000000")
    body = PICTURE + bytes(2_000_000)

    with gateway.gateway().memory.body(1_000_000):
        response = await app.score(body)

    assert response.status == 503
    assert matches_example("gateway-busy", response.json)
    assert response.headers["retry-after"] == "1"
    assert (await app.score(body)).status == 200


# --- Key Vault and the identity --------------------------------------------------------------------


async def test_without_credentials_an_unreachable_vault_is_an_error(app: App) -> None:
    app.configure(KEY_VAULT_URL=f"https://localhost:{unused_port()}")

    response = await app.score()

    assert response.status == 503
    assert matches_example("vault-unreachable", response.json)
    assert response.headers["retry-after"] == "5"
    for health in (await app.ready(), await app.health()):
        assert health.status == 503
        assert health.json["services"]["cats"]["problem"]["type"].endswith(":vault-unreachable")


@pytest.mark.usefixtures("served")
async def test_first_requests_at_once_make_one_gateway(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[gateway.Gateway]()

    class Counted(gateway.Gateway):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            made.append(self)
            super().__init__(*arguments, **named)

    monkeypatch.setattr(gateway, "Gateway", Counted)

    assert [one.status for one in await asyncio.gather(*(app.score() for _ in range(3)))] == [200] * 3
    assert len(made) == 1


async def test_reading_the_vault_ends_at_the_deadline(app: App) -> None:
    app.vault.fault(mode="hang")
    began = time.monotonic()

    response = await app.score(Request_Timeout_Ms="1500")

    assert (response.status, response.problem) == (504, "deadline-exceeded")
    assert response.json["detail"] == "The deadline passed while Key Vault was being read."
    assert time.monotonic() - began < TIME_LIMIT


@pytest.mark.parametrize(
    ("fault", "settings", "slug"),
    [
        ({"mode": "throttle", "retry_after": 3}, {}, "vault-throttled"),
        ({"mode": "forbid"}, {}, "vault-forbidden"),
        ({}, {"SERVICE__CATS__PRIMARY_KEY_SECRET": "no-such-secret"}, "secret-missing"),
        ({}, {"SERVICE__CATS__PRIMARY_KEY_SECRET": "disabled-secret"}, "secret-disabled"),
        ({}, {"IDENTITY_ENDPOINT": "http://127.0.0.1:{port}/msi/token"}, "identity-unavailable"),
    ],
)
async def test_unreadable_credentials_are_an_error(
    app: App, fault: dict[str, object], settings: dict[str, str], slug: str
) -> None:
    app.vault.set("disabled-secret", "x", enabled=False)
    app.vault.fault(**fault)
    app.configure(**{name: value.format(port=unused_port()) for name, value in settings.items()})

    response = await app.score()

    assert response.status == 503
    assert matches_example(slug, response.json)


async def test_keys_that_cannot_be_sent_are_an_error_without_their_content(app: App) -> None:
    app.vault.set("cats-primary-key", "a\tkey")
    app.vault.set("cats-secondary-key", "another\u00e9")

    response = await app.score()

    assert response.status == 503
    assert matches_example("invalid-key", response.json)


async def test_an_invalid_pin_is_an_error(app: App) -> None:
    app.vault.set("cats-pins", "no certificate")

    response = await app.score()

    assert response.status == 503
    assert matches_example("invalid-pin", response.json)


@pytest.mark.usefixtures("served")
async def test_a_later_failure_of_the_vault_is_reported_and_requests_succeed(app: App) -> None:
    app.configure(CREDENTIALS_REFRESH_SECONDS="1")
    await app.score()
    app.vault.fault(mode="error")

    async def stale() -> bool:
        assert (await app.score()).status == 200
        return bool((await app.health()).json["services"]["cats"]["credentials"]["stale"])

    await until(stale)

    health = await app.health()
    assert health.status == 200
    credentials = health.json["services"]["cats"]["credentials"]
    assert credentials["problem"]["type"].endswith(":vault-unreachable")
    assert credentials["age_seconds"] >= 0.8


# --- Settings and internal errors -------------------------------------------------------------------------------


async def test_invalid_settings_are_an_error(app: App) -> None:
    app.configure(SERVICE__CATS__PORT="cat")

    response = await app.score()

    assert response.status == 500
    assert matches_example("misconfigured", response.json)
    assert "PORT" in (await app.health()).json["detail"]


async def test_anonymous_health_has_neither_settings_nor_secret_names(app: App) -> None:
    app.configure(SERVICE__CATS__PORT="cat")
    misconfigured = await app.ready()
    await gateway.forget()
    app.configure(SERVICE__CATS__PORT="443", SERVICE__CATS__PRIMARY_KEY_SECRET="no-such-secret")

    missing = await app.ready()

    assert (misconfigured.status, misconfigured.problem) == (500, "misconfigured")
    assert misconfigured.json["detail"] == Misconfigured.meaning
    assert missing.json["services"]["cats"]["problem"] == {
        "type": "urn:problem-type:scoring-gateway:secret-missing",
        "title": SecretMissing.title,
        "status": 503,
        "detail": SecretMissing.meaning,
        "remedy": SecretMissing.remedy,
    }
    for response in (misconfigured, missing):
        assert not re.search(rb"SERVICE__|cat\b|no-such-secret|443", response.body)


async def test_an_internal_error_is_a_problem_document() -> None:
    async def work() -> func.HttpResponse:
        raise KeyError("something")

    invocation: Any = SimpleNamespace(invocation_id="an-id")
    request = func.HttpRequest("POST", "http://localhost/api/score", body=b"")

    response = await respond(request, invocation, work, name="score")

    assert matches_example("internal-error", json.loads(response.get_body()))
