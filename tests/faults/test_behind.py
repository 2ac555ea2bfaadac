"""Trouble behind the gateway: the service, the network, Key Vault, the identity. Each is answered by its cause."""

import asyncio
import datetime as dt
import io
import json
import socket
import time
from collections.abc import Callable

import azure.functions as func
import pytest
from PIL import Image

from devstack.authority import Authority, Issued
from devstack.fpga import Endpoint, KeyPair, Keys, Service
from devstack.fpga.faults import Faults, FaultSwitch
from functions.answers import answered
from tests.faults.documented import documents
from tests.faults.lab import PICTURE, Lab, score, until
from tests.shared.fpga.conftest import KEYS, StartService

# Far more than any deadline here, and less than the service's own of ten seconds: whether a wait ends, not how fast.
PATIENCE = 5.0

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


def unused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# --- The service ---------------------------------------------------------------------------------


async def test_all_is_well(lab: Lab, start: StartService, issued: Issued) -> None:
    lab.serve(await start(), issued)

    answer = await lab.score()

    assert answer.status == 200, answer.body
    assert len(answer.json["predictions"][0]["labels"]) == 5


async def test_a_service_that_is_down(lab: Lab) -> None:
    lab.configure(SERVICE__CATS__PORT=str(unused()))

    answer = await lab.score(Request_Timeout_Ms="300")

    assert answer.status == 503
    assert documents("service-unreachable", answer.json)
    assert answer.headers["retry-after"] == "1"


async def test_a_service_whose_name_is_not_known(lab: Lab) -> None:
    lab.configure(SERVICE__CATS__ADDRESS="nobody.invalid")

    assert (await lab.score(Request_Timeout_Ms="500")).problem in {"service-unreachable", "deadline-exceeded"}


async def test_a_slow_service(lab: Lab, start: StartService, issued: Issued) -> None:
    lab.serve(await start(faults=FaultSwitch(Faults(delay_ms=1000))), issued, SERVICE__CATS__DEADLINE_MS="200")
    began = time.monotonic()

    answer = await lab.score()

    assert answer.status == 504
    assert documents("deadline-exceeded", answer.json)
    assert time.monotonic() - began < PATIENCE


async def test_a_silent_service_and_the_clients_deadline(lab: Lab, start: StartService, issued: Issued) -> None:
    faults = FaultSwitch()
    service = await start(faults=faults)
    lab.serve(service, issued)
    await lab.score()
    faults.set(Faults(hang=True))
    began = time.monotonic()
    for milliseconds in (50, 100, 200, 300):
        answer = await lab.score(Request_Timeout_Ms=str(milliseconds))
        assert (answer.status, answer.problem) == (504, "deadline-exceeded")
        assert answer.json["detail"] == "The deadline passed while the service was scoring."

    assert time.monotonic() - began < PATIENCE
    # What the service was told is what was left (gRPC rounds it up a little), not the service's ten seconds.
    assert all(seen.timeout is not None and seen.timeout < 1 for seen in list(service.recorder.calls)[-4:])


async def test_something_that_accepts_and_says_nothing(lab: Lab) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        lab.configure(SERVICE__CATS__PORT=str(server.sockets[0].getsockname()[1]))
        answer = await lab.score(Request_Timeout_Ms="1000")
        assert (answer.status, answer.problem) == (504, "deadline-exceeded")
        server.close_clients()


async def test_a_restart_in_mid_call_costs_nothing(lab: Lab, start: StartService, issued: Issued) -> None:
    faults = FaultSwitch()
    service = await start(faults=faults)
    lab.serve(service, issued)
    await lab.score()
    faults.set(Faults(delay_ms=300))
    calls = [asyncio.create_task(lab.score()) for _ in range(15)]
    while len(service.recorder.calls) < 16:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    faults.set(Faults())

    await service.stop(0)
    await asyncio.sleep(0.3)
    await service.start()

    assert {answer.status for answer in await asyncio.gather(*calls)} == {200}


async def test_an_outage_is_over_within_a_second_of_the_services_return(
    lab: Lab, start: StartService, issued: Issued
) -> None:
    service = await start()
    lab.serve(service, issued)
    await lab.score()
    await service.stop(0)
    for _ in range(3):
        assert (await lab.score()).problem == "service-unreachable"
    assert (await lab.ready()).status == 503

    await service.start()

    async def scored() -> bool:
        return (await lab.score()).status == 200

    await until(scored, 1)
    assert (await lab.ready()).status == 200


@pytest.mark.parametrize(
    ("issue", "slug"),
    [
        (lambda _: Authority.create().issue(), "service-untrusted"),
        (lambda authority: authority.issue(not_before=NOW - 2 * DAY, valid_for=DAY), "service-certificate-expired"),
        (lambda authority: authority.issue(["dogs.example.com"]), "service-name-mismatch"),
    ],
    ids=["unknown issuer", "expired", "wrong name"],
)
async def test_a_service_that_cannot_be_trusted(
    lab: Lab, start: StartService, issue: Callable[[Authority], Issued], slug: str
) -> None:
    service = await start(issue(lab.authority))
    lab.vault.set("cats-pins", lab.authority.pem.decode())
    lab.configure(SERVICE__CATS__PORT=str(service.port))

    answer = await lab.score()

    assert answer.status == 502
    assert documents(slug, answer.json)


async def test_a_service_without_tls_where_tls_was_expected(lab: Lab, start: StartService, issued: Issued) -> None:
    lab.serve(await start(tls=False), issued)

    answer = await lab.score()

    assert answer.status == 502
    assert documents("service-without-tls", answer.json)


async def test_a_service_that_refuses_the_primary_key(lab: Lab, start: StartService, issued: Issued) -> None:
    service = await start()
    service.set_keys(Keys("another", KEYS.secondary))
    lab.serve(service, issued)

    assert (await lab.score()).status == 200
    assert [seen.key for seen in service.recorder.calls] == ["wrong", "secondary"]


async def test_a_service_that_refuses_both_keys(lab: Lab, start: StartService, issued: Issued) -> None:
    service = await start()
    service.set_keys(Keys("another", "one more"))
    lab.serve(service, issued)

    answer = await lab.score()

    assert answer.status == 502
    assert documents("keys-refused", answer.json)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing_output", "The answer has no output 'output_alias'"),
        ("wrong_shape", "The output's shape"),
        ("nan", "The output holds values that are not numbers"),
    ],
)
async def test_a_service_that_answers_nonsense(
    lab: Lab, start: StartService, issued: Issued, fault: str, words: str
) -> None:
    lab.serve(await start(faults=FaultSwitch(Faults(answer=fault))), issued)  # type: ignore[arg-type]

    answer = await lab.score()

    assert (answer.status, answer.problem) == (502, "service-answer-invalid")
    assert words in answer.json["detail"]
    assert fault != "missing_output" or documents("service-answer-invalid", answer.json)


@pytest.mark.parametrize(
    ("code", "status", "slug"),
    [
        ("INTERNAL", 502, "service-failed"),
        ("RESOURCE_EXHAUSTED", 503, "service-busy"),
        ("PERMISSION_DENIED", 502, "keys-refused"),
    ],
)
async def test_a_service_that_fails(
    lab: Lab, start: StartService, issued: Issued, code: str, status: int, slug: str
) -> None:
    lab.serve(await start(faults=FaultSwitch(Faults(fail_next=1, fail_with=code))), issued)

    answer = await lab.score()

    assert answer.status == status
    assert documents(slug, answer.json)


async def test_more_than_may_be_under_way(lab: Lab, start: StartService, issued: Issued) -> None:
    faults = FaultSwitch(Faults(hang=True))
    service = await start(faults=faults)
    lab.serve(service, issued, SERVICE__CATS__DEADLINE_MS="3000", SERVICE__CATS__MAX_CONCURRENCY="16")
    under_way = [asyncio.create_task(lab.score()) for _ in range(16)]
    async with asyncio.timeout(5):
        while len(service.recorder.calls) < 16:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    answer = await lab.score()

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert documents("overloaded", answer.json)
    assert not any(task.done() for task in under_way), "it did not wait for the others"
    # Those end by their deadline, and leave room for the next.
    assert {one.status for one in await asyncio.gather(*under_way)} == {504}
    faults.set(Faults())
    assert (await lab.score()).status == 200


async def test_a_client_that_goes_away_leaves_its_place(lab: Lab, start: StartService, issued: Issued) -> None:
    faults = FaultSwitch(Faults(hang=True))
    service = await start(faults=faults)
    lab.serve(service, issued, SERVICE__CATS__MAX_CONCURRENCY="1")
    gone = asyncio.create_task(lab.score())
    async with asyncio.timeout(5):
        while not service.recorder.calls:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    assert (await lab.score()).problem == "overloaded"

    gone.cancel()
    await asyncio.wait({gone})
    faults.set(Faults())

    assert (await lab.score()).status == 200


async def test_a_service_that_is_full_keeps_none_from_another(lab: Lab, start: StartService, issued: Issued) -> None:
    faults = FaultSwitch(Faults(hang=True))
    slow, quick = await start(faults=faults), await start()
    lab.serve(
        slow,
        issued,
        SERVICES="cats,dogs",
        SERVICE__CATS__MAX_CONCURRENCY="1",
        SERVICE__DOGS__ADDRESS="localhost",
        SERVICE__DOGS__PORT=str(quick.port),
        SERVICE__DOGS__PRIMARY_KEY_SECRET="cats-primary-key",
        SERVICE__DOGS__SECONDARY_KEY_SECRET="cats-secondary-key",
        SERVICE__DOGS__PINS_SECRET="cats-pins",
    )
    waiting = asyncio.create_task(lab.score())
    async with asyncio.timeout(5):
        while not slow.recorder.calls:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)

    assert (await lab.score()).problem == "overloaded"
    assert (await score(PICTURE, "image/jpeg", service="dogs")).status == 200
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_a_service_that_knows_no_such_model(lab: Lab, start: StartService, issued: Issued) -> None:
    lab.serve(await start(), issued, SERVICE__CATS__MODEL="dogs", SERVICE__CATS__INPUT_FORM="tensor")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")

    answer = await lab.score(out.getvalue(), "image/png")

    assert answer.status == 502
    assert documents("service-rejected", answer.json)
    assert "NOT_FOUND" in answer.json["detail"]


async def test_a_message_that_is_too_large_for_the_service(lab: Lab, start: StartService, issued: Issued) -> None:
    lab.serve(await start(endpoint=Endpoint(message_limit=1000)), issued)

    answer = await lab.score(PICTURE + bytes(2000))

    assert answer.status == 413
    assert documents("message-too-large", answer.json)


# --- Key Vault and the identity --------------------------------------------------------------------


async def test_a_vault_that_is_down_at_the_first_request(lab: Lab) -> None:
    lab.configure(KEY_VAULT_URL=f"https://localhost:{unused()}")

    answer = await lab.score()

    assert answer.status == 503
    assert documents("vault-unreachable", answer.json)
    assert answer.headers["retry-after"] == "5"
    ready = await lab.ready()
    assert ready.status == 503
    assert ready.json["services"]["cats"]["problem"]["type"].endswith(":vault-unreachable")


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        ({"mode": "throttle", "retry_after": 3}, "vault-throttled"),
        ({"mode": "forbid"}, "vault-forbidden"),
    ],
)
async def test_a_vault_that_refuses(lab: Lab, fault: dict[str, object], slug: str) -> None:
    lab.vault.fault(**fault)

    answer = await lab.score()

    assert answer.status == 503
    assert documents(slug, answer.json)


async def test_a_vault_that_hangs_does_not_hold_the_request_beyond_its_deadline(lab: Lab) -> None:
    lab.vault.fault(mode="hang")
    began = time.monotonic()

    answer = await lab.score(Request_Timeout_Ms="1500")

    assert (answer.status, answer.problem) == (504, "deadline-exceeded")
    assert answer.json["detail"] == "The deadline passed while Key Vault was being read."
    assert time.monotonic() - began < PATIENCE


async def test_a_secret_that_is_missing(lab: Lab) -> None:
    lab.configure(SERVICE__CATS__PRIMARY_KEY_SECRET="no-such-secret")

    answer = await lab.score()

    assert answer.status == 503
    assert documents("secret-missing", answer.json)


async def test_a_secret_that_is_disabled(lab: Lab) -> None:
    lab.vault.set("asleep", "x", enabled=False)
    lab.configure(SERVICE__CATS__PRIMARY_KEY_SECRET="asleep")

    answer = await lab.score()

    assert answer.status == 503
    assert documents("secret-disabled", answer.json)


async def test_a_pin_that_is_no_certificate(lab: Lab) -> None:
    lab.vault.set("cats-pins", "no certificate")

    answer = await lab.score()

    assert answer.status == 503
    assert documents("invalid-pin", answer.json)


async def test_an_identity_endpoint_that_is_down(lab: Lab) -> None:
    lab.configure(IDENTITY_ENDPOINT=f"http://127.0.0.1:{unused()}/msi/token")

    answer = await lab.score()

    assert answer.status == 503
    assert documents("identity-unavailable", answer.json)


async def test_a_vault_that_goes_down_later_is_said_in_ready_and_costs_nothing(
    lab: Lab, start: StartService, issued: Issued
) -> None:
    lab.serve(await start(), issued, CREDENTIALS_REFRESH_SECONDS="1")
    await lab.score()
    lab.vault.fault(mode="error")

    async def stale() -> bool:
        assert (await lab.score()).status == 200
        return bool((await lab.ready()).json["services"]["cats"]["credentials"]["stale"])

    await until(stale)

    ready = await lab.ready()
    assert ready.status == 200
    credentials = ready.json["services"]["cats"]["credentials"]
    assert credentials["problem"]["type"].endswith(":vault-unreachable")
    assert credentials["age_seconds"] >= 0.8


async def test_a_key_and_a_certificate_that_change_cost_nothing(lab: Lab, start: StartService, issued: Issued) -> None:
    service: Service = await start()
    lab.serve(service, issued, CREDENTIALS_REFRESH_SECONDS="1")
    await lab.score()
    await asyncio.sleep(1)
    other = lab.authority.issue()
    lab.vault.set("cats-pins", other.certificate.decode())
    lab.vault.set("cats-primary-key", "new-primary")
    lab.vault.set("cats-secondary-key", "new-secondary")
    service.set_keys(Keys("new-primary", "new-secondary"))
    service.set_certificate(KeyPair(other.chain, other.key))
    service.drop_connections()

    assert {(await lab.score()).status for _ in range(20)} == {200}


# --- Whatever happens -------------------------------------------------------------------------------


async def test_wrong_settings(lab: Lab) -> None:
    lab.configure(SERVICE__CATS__PORT="cat")

    answer = await lab.score()

    assert answer.status == 500
    assert documents("misconfigured", answer.json)
    assert (await lab.ready()).problem == "misconfigured"


async def test_a_fault_of_the_gateways_own() -> None:
    async def work() -> func.HttpResponse:
        raise KeyError("something")

    answer = await answered("an-id", work, name="score")

    assert documents("internal-error", json.loads(answer.get_body()))
