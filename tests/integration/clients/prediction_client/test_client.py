"""The blocking and the asyncio client with a real service over TLS."""

import asyncio
import datetime as dt
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prediction_client import AsyncPredictionClient, PredictionClient, errors, retries
from prediction_client.connection import ROOTS_VARIABLE

from devstack.authority import Authority, Issued
from devstack.fpga import Service, SimulatedEngine
from devstack.fpga.faults import Faults, FaultSwitch
from protos.tensor_pb2 import DT_FLOAT, DT_STRING
from tests.support.devstack.processes import unused_port, wait_until_async
from tests.support.inference_service import KEYS, StartService

JPEG = b"\xff\xd8\xff an image"
IMAGE = np.arange(224 * 224 * 3, dtype=np.float32).reshape(1, 224, 224, 3)
DAY = timedelta(days=1)
DAMAGED = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

Call = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
def call(request: pytest.FixtureRequest, authority: Authority) -> Call:
    """Creates a client of either kind, calls one method, and closes the client.

    The blocking client runs in a thread, because the service runs in the test's event loop.
    """

    async def make_call(port: int, method: str, *arguments: Any, timeout: float = 30, **options: Any) -> Any:  # noqa: ASYNC109 - the name of the clients' argument
        defaults = {"use_ssl": True, "access_token": KEYS.primary, "root_certificates": authority.pem}
        options = {**defaults, **options}
        if request.param == "asyncio":
            async with AsyncPredictionClient("localhost", port, **options) as client:
                return await getattr(client, method)(*arguments, timeout=timeout)

        def block() -> Any:
            with PredictionClient("localhost", port, **options) as client:
                return getattr(client, method)(*arguments, timeout=timeout)

        return await asyncio.to_thread(block)

    return make_call


async def test_an_image_is_scored(service: Service, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(JPEG)

    by_path = await call(service.port, "score_image", file)
    by_name = await call(service.port, "score_image", str(file))
    by_bytes = await call(service.port, "score_image", JPEG)
    by_file = await call(service.port, "score_file", JPEG)

    assert by_path.shape == (10,)
    assert by_path.dtype == np.float32
    assert by_path.sum() == pytest.approx(1)
    assert by_path.tolist() == by_name.tolist() == by_bytes.tolist() == by_file.tolist()


async def test_every_image_of_an_array_is_scored(service: Service, call: Call) -> None:
    both = await call(service.port, "score_numpy_array", np.concatenate([IMAGE, IMAGE + 1]))
    first = await call(service.port, "score_numpy_array", IMAGE)
    second = await call(service.port, "score_numpy_array", IMAGE + 1)

    assert both.shape == (2, 10)
    assert both.tolist() == [first[0].tolist(), second[0].tolist()]
    assert first.tolist() != second.tolist()


async def test_tensors_of_any_type_are_scored(service: Service, call: Call) -> None:
    string = await call(service.port, "score_tensor", JPEG, [1], DT_STRING)
    numbers = await call(service.port, "score_tensor", IMAGE.tobytes(), IMAGE.shape, DT_FLOAT)

    assert list(string.float_val) == (await call(service.port, "score_image", JPEG)).tolist()
    assert list(numbers.float_val) == (await call(service.port, "score_numpy_array", IMAGE))[0].tolist()


async def test_the_rank_of_features_is_preserved(start: StartService, call: Call) -> None:
    engine = SimulatedEngine(0, classes=2048, output="features")
    service = await start(engine=engine)

    image = await call(service.port, "score_image", JPEG)
    array = await call(service.port, "score_numpy_array", IMAGE)

    assert image.shape == (1, 1, 2048)
    assert array.shape == (1, 1, 1, 2048)
    engine.close()


async def test_configured_names_are_sent_to_the_service(service: Service, call: Call) -> None:
    with pytest.raises(errors.Rejected, match="'cats' is not served here"):
        await call(service.port, "score_image", JPEG, model_name="cats")
    with pytest.raises(errors.Rejected, match="signature 'cats' is not found"):
        await call(service.port, "score_image", JPEG, signature_name="cats")
    with pytest.raises(errors.Rejected, match="input 'cats' is not known"):
        await call(service.port, "score_image", JPEG, input_name="cats")
    with pytest.raises(errors.AnswerInvalid, match="no output 'cats'; it has: output_alias"):
        await call(service.port, "score_image", JPEG, output_name="cats")


# Access tokens.


async def test_the_token_is_sent_unchanged(service: Service, call: Call) -> None:
    await call(service.port, "score_image", JPEG, access_token=KEYS.primary)
    await call(service.port, "score_image", JPEG, access_token=KEYS.secondary)

    assert [call.key for call in service.recorder.calls] == ["primary", "secondary"]


@pytest.mark.parametrize(
    ("token", "message"),
    [("not-the-key", r"refused the access token\. Pass one of"), ("", "requires an access token")],
)
async def test_a_refused_or_missing_token_is_reported_and_not_retried(
    service: Service, call: Call, token: str, message: str
) -> None:
    with pytest.raises(errors.TokenRefused, match=message) as caught:
        await call(service.port, "score_image", JPEG, access_token=token)

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "not-the-key" not in str(caught.value)
    assert len(service.recorder.calls) == 1


async def test_without_tls_no_token_is_required(start: StartService, call: Call) -> None:
    service = await start(tls=False)
    plain = {"use_ssl": False, "access_token": "", "root_certificates": None}

    assert (await call(service.port, "score_image", JPEG, **plain)).shape == (10,)
    assert [call.key for call in service.recorder.calls] == ["none"]


# Certificates.


async def test_root_certificates_are_read_from_files(
    service: Service, call: Call, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "roots.pem"
    file.write_bytes(authority.pem)

    await call(service.port, "score_image", JPEG, root_certificates=file)
    await call(service.port, "score_image", JPEG, root_certificates=str(file))
    monkeypatch.setenv(ROOTS_VARIABLE, str(file))
    await call(service.port, "score_image", JPEG, root_certificates=None)

    assert len(service.recorder.calls) == 3


async def test_other_valid_root_certificates(
    service: Service, call: Call, authority: Authority, issued: Issued
) -> None:
    """The service's own certificate; and with an invalid one, which is ignored."""
    for roots in (issued.certificate, DAMAGED + authority.pem):
        assert (await call(service.port, "score_image", JPEG, root_certificates=roots)).shape == (10,)


async def test_an_untrusted_certificate_is_reported(service: Service, call: Call) -> None:
    with pytest.raises(errors.Untrusted, match=r"no trusted root covers .* Pass the service's certificate") as caught:
        await call(service.port, "score_image", JPEG, root_certificates=Authority.create().pem)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not service.recorder.calls


async def test_an_expired_certificate_is_reported(start: StartService, call: Call, authority: Authority) -> None:
    service = await start(authority.issue(not_before=dt.datetime.now(dt.UTC) - 2 * DAY, valid_for=DAY))

    with pytest.raises(errors.CertificateExpired, match="has expired"):
        await call(service.port, "score_image", JPEG)


async def test_a_certificate_for_another_name_requires_that_name(
    start: StartService, call: Call, authority: Authority
) -> None:
    service = await start(authority.issue(["cats.example.com"]))

    with pytest.raises(errors.NameMismatch, match="pass that name as ssl_target_name"):
        await call(service.port, "score_image", JPEG)
    assert (await call(service.port, "score_image", JPEG, ssl_target_name="cats.example.com")).shape == (10,)


async def test_a_service_without_tls_is_reported(start: StartService, call: Call) -> None:
    service = await start(tls=False)

    with pytest.raises(errors.NotTls, match="does not use TLS"):
        await call(service.port, "score_image", JPEG)


# Failures.


async def test_a_refused_connection_is_reported(call: Call) -> None:
    port = unused_port()

    with pytest.raises(errors.Unreachable, match="Check the address and the port") as caught:
        await call(port, "score_image", JPEG, retries=False)

    assert str(port) not in str(caught.value)


async def test_lost_connections_are_retried(start: StartService, call: Call) -> None:
    service = await start(faults=FaultSwitch(Faults(drop_next=2)))

    assert (await call(service.port, "score_image", JPEG)).shape == (10,)
    assert len(service.recorder.calls) == 3


async def test_calls_are_retried_until_the_service_has_restarted(
    start: StartService, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, pause = threading.Event(), retries.Attempts.pause

    def observed(attempts: retries.Attempts, failure: errors.PredictionError) -> float | None:
        failed.set()
        return pause(attempts, failure)

    monkeypatch.setattr(retries.Attempts, "pause", observed)
    monkeypatch.setattr(retries, "PATIENCE", 60)
    service = await start()
    await service.stop(0)

    scores = asyncio.ensure_future(call(service.port, "score_image", JPEG, timeout=60))
    assert await asyncio.to_thread(failed.wait, 60)
    await service.start()

    assert (await scores).shape == (10,)


async def test_retries_end_before_the_deadline_with_the_cause(service: Service, call: Call) -> None:
    await service.stop(0)

    with pytest.raises(errors.Unreachable):
        await call(service.port, "score_image", JPEG, timeout=1)


async def test_retries_can_be_turned_off(start: StartService, call: Call) -> None:
    service = await start(faults=FaultSwitch(Faults(drop_next=1)))

    with pytest.raises(errors.Unreachable):
        await call(service.port, "score_image", JPEG, retries=False)
    assert len(service.recorder.calls) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("INVALID_ARGUMENT", errors.Rejected),
        ("RESOURCE_EXHAUSTED", errors.Busy),
        ("INTERNAL", errors.Failed),
        ("UNKNOWN", errors.Failed),
    ],
)
async def test_other_failures_are_not_retried(
    start: StartService, call: Call, status: str, kind: type[errors.PredictionError]
) -> None:
    service = await start(faults=FaultSwitch(Faults(fail_next=1, fail_with=status)))

    with pytest.raises(kind) as caught:
        await call(service.port, "score_image", JPEG)

    assert type(caught.value) is kind
    assert caught.value.code() is grpc.StatusCode[status]
    assert len(service.recorder.calls) == 1


async def test_a_call_without_a_response_ends_at_its_deadline(start: StartService, call: Call) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))

    with pytest.raises(errors.DeadlinePassed, match="pass a longer timeout") as caught:
        await call(service.port, "score_image", JPEG, timeout=0.5)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_deadline_is_sent_with_the_call(service: Service, call: Call) -> None:
    await call(service.port, "score_image", JPEG, timeout=25)

    (recorded,) = service.recorder.calls
    assert recorded.timeout is not None
    assert 0 < recorded.timeout <= 25


async def test_the_error_of_an_oversized_array_names_the_number_of_images_that_fit(
    service: Service, call: Call
) -> None:
    assert (await call(service.port, "score_numpy_array", np.repeat(IMAGE, 6, axis=0))).shape == (6, 10)
    with pytest.raises(errors.MessageTooLarge, match=r"4,214,784 bytes.*4,194,304.* 6 of the 7 images fit") as caught:
        await call(service.port, "score_numpy_array", np.repeat(IMAGE, 7, axis=0))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(service.recorder.calls) == 1


@pytest.mark.parametrize(
    ("image", "limit", "message"),
    [
        (bytes(4 * 1024 * 1024), 4 * 1024 * 1024, "than this client sends"),
        (bytes(5_000_000), 6_000_000, "than the service accepts"),
        (JPEG, 80, "than this client accepts"),
    ],
    ids=["request", "the service's limit", "response"],
)
async def test_oversized_messages_are_an_error(
    service: Service, call: Call, image: bytes, limit: int, message: str
) -> None:
    with pytest.raises(errors.MessageTooLarge, match=message):
        await call(service.port, "score_image", image, max_message_bytes=limit)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("wrong_shape", "must start with 1"), ("missing_output", "it has: none")],
)
async def test_invalid_responses_are_an_error(start: StartService, call: Call, fault: Any, message: str) -> None:
    service = await start(faults=FaultSwitch(Faults(answer=fault)))

    with pytest.raises(errors.AnswerInvalid, match=message):
        await call(service.port, "score_image", JPEG)


# Connections and threads.


async def test_threads_share_one_connection(service: Service, authority: Authority) -> None:
    images = [JPEG + bytes([number]) for number in range(32)]
    with PredictionClient("localhost", service.port, True, KEYS.primary, root_certificates=authority.pem) as client:
        concurrent = await asyncio.gather(*(asyncio.to_thread(client.score_image, image) for image in images))
        sequential = [await asyncio.to_thread(client.score_image, image) for image in images]

    assert [scores.tolist() for scores in concurrent] == [scores.tolist() for scores in sequential]
    assert len({call.peer for call in service.recorder.calls}) == 1


async def test_tasks_share_one_connection(service: Service, authority: Authority) -> None:
    async with AsyncPredictionClient(
        "localhost", service.port, True, KEYS.primary, root_certificates=authority.pem
    ) as client:
        await asyncio.gather(*(client.score_image(JPEG) for _ in range(16)))

    assert len({call.peer for call in service.recorder.calls}) == 1


async def test_an_idle_connection_is_replaced(start: StartService) -> None:
    service = await start(tls=False)
    async with AsyncPredictionClient(
        "localhost", service.port, channel_shutdown_timeout=timedelta(seconds=1)
    ) as client:
        await client.score_image(JPEG)
        async with asyncio.timeout(60):
            while len({call.peer for call in service.recorder.calls}) < 2:
                # gRPC checks about once per idle timeout, so closing may take twice as long.
                await asyncio.sleep(2.1)
                await client.score_image(JPEG)


async def test_a_closed_client_cannot_be_used(start: StartService) -> None:
    service = await start(tls=False)
    blocking = PredictionClient("localhost", service.port)
    asynchronous = AsyncPredictionClient("localhost", service.port)
    blocking.close()
    blocking.close()
    await asynchronous.close()
    await asynchronous.close()

    with pytest.raises(ValueError, match="this client is closed"):
        blocking.score_image(JPEG)
    with pytest.raises(ValueError, match="this client is closed"):
        await asynchronous.score_image(JPEG)


async def test_closing_ends_the_calls_in_progress(start: StartService) -> None:
    service = await start(tls=False, faults=FaultSwitch(Faults(hang=True)))
    blocking = PredictionClient("localhost", service.port)
    asynchronous = AsyncPredictionClient("localhost", service.port)
    calls = [
        asyncio.create_task(asyncio.to_thread(blocking.score_image, JPEG)),
        asyncio.create_task(asynchronous.score_image(JPEG)),
    ]
    await wait_until_async(lambda: len(service.recorder.calls) == 2, "both calls have arrived")

    blocking.close()
    await asynchronous.close()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.Closed, errors.Closed]


async def test_a_call_can_be_cancelled(start: StartService) -> None:
    service = await start(tls=False, faults=FaultSwitch(Faults(hang=True)))
    async with AsyncPredictionClient("localhost", service.port) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.score_image(JPEG)
