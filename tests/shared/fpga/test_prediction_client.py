"""The clients for programs of one's own, blocking and asyncio, against a real service over TLS."""

import asyncio
import datetime as dt
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import Identity, KeyPair, KeyRing, Model, Service, SimulatedEngine
from devstack.fpga.faults import Faults, FaultSwitch
from protos.tensor_pb2 import DT_FLOAT, DT_STRING
from shared.fpga import prediction_errors as errors
from shared.fpga.prediction_client import AsyncPredictionClient, PredictionClient
from shared.fpga.prediction_connection import ROOTS_VARIABLE
from tests.shared.fpga.conftest import KEYS, StartService

JPEG = b"\xff\xd8\xff a picture"
IMAGE = np.arange(224 * 224 * 3, dtype=np.float32).reshape(1, 224, 224, 3)
DAY = timedelta(days=1)
DAMAGED = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest, authority: Authority) -> Ask:
    """Makes a client of either kind for a service, calls one method, closes the client.

    The blocking one runs in a thread, since the service lives in the test's event loop.
    """

    async def call(port: int, method: str, *arguments: Any, timeout: float = 30, **options: Any) -> Any:  # noqa: ASYNC109 - as the clients name it
        defaults = {"use_ssl": True, "access_token": KEYS.primary, "root_certificates": authority.pem}
        options = {**defaults, **options}
        if request.param == "asyncio":
            async with AsyncPredictionClient("localhost", port, **options) as client:
                return await getattr(client, method)(*arguments, timeout=timeout)

        def block() -> Any:
            with PredictionClient("localhost", port, **options) as client:
                return getattr(client, method)(*arguments, timeout=timeout)

        return await asyncio.to_thread(block)

    return call


async def test_an_image_gets_the_scores_of_one(start: StartService, ask: Ask, tmp_path: Path) -> None:
    service = await start()
    file = tmp_path / "cat.jpg"
    file.write_bytes(JPEG)

    by_path = await ask(service.port, "score_image", file)
    by_name = await ask(service.port, "score_image", str(file))
    by_bytes = await ask(service.port, "score_image", JPEG)
    by_file = await ask(service.port, "score_file", JPEG)

    assert by_path.shape == (10,)
    assert by_path.dtype == np.float32
    assert by_path.sum() == pytest.approx(1)
    assert by_path.tolist() == by_name.tolist() == by_bytes.tolist() == by_file.tolist()


async def test_an_array_gets_the_scores_of_all(start: StartService, ask: Ask) -> None:
    service = await start()

    both = await ask(service.port, "score_numpy_array", np.concatenate([IMAGE, IMAGE + 1]))
    first = await ask(service.port, "score_numpy_array", IMAGE)
    second = await ask(service.port, "score_numpy_array", IMAGE + 1)

    assert both.shape == (2, 10)
    assert both.tolist() == [first[0].tolist(), second[0].tolist()]
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    "alike",
    [IMAGE.astype(np.float64), IMAGE.astype(np.int32), np.asfortranarray(IMAGE), IMAGE.astype(">f4"), IMAGE[:, ::1]],
    ids=["double", "integer", "by columns", "big-endian", "a view"],
)
async def test_equal_numbers_get_equal_scores_however_they_lie_in_memory(start: StartService, alike: Any) -> None:
    service = await start(tls=False)
    async with AsyncPredictionClient("localhost", service.port) as client:
        assert (await client.score_numpy_array(alike)).tolist() == (await client.score_numpy_array(IMAGE)).tolist()


async def test_a_tensor_of_any_type(start: StartService, ask: Ask) -> None:
    service = await start()

    string = await ask(service.port, "score_tensor", JPEG, [1], DT_STRING)
    numbers = await ask(service.port, "score_tensor", IMAGE.tobytes(), IMAGE.shape, DT_FLOAT)

    assert list(string.float_val) == (await ask(service.port, "score_image", JPEG)).tolist()
    assert list(numbers.float_val) == (await ask(service.port, "score_numpy_array", IMAGE))[0].tolist()


async def test_a_featurizer_answers_with_rank_four(ask: Ask, issued: Issued) -> None:
    engine = SimulatedEngine(0, classes=2048, output="features")
    identity = Identity(KeyPair(issued.chain, issued.key))
    service = Service(Model("resnet50", 1, engine.output_shape), engine, keys=KeyRing(KEYS), identity=identity)
    await service.start()

    image = await ask(service.port, "score_image", JPEG)
    array = await ask(service.port, "score_numpy_array", IMAGE)

    assert image.shape == (1, 1, 2048)
    assert array.shape == (1, 1, 1, 2048)
    await service.stop(0)
    engine.close()


async def test_names_of_ones_own_reach_the_service(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.Rejected, match="'cats' is not served here"):
        await ask(service.port, "score_image", JPEG, model_name="cats")
    with pytest.raises(errors.Rejected, match="signature 'cats' is not found"):
        await ask(service.port, "score_image", JPEG, signature_name="cats")
    with pytest.raises(errors.Rejected, match="input 'cats' is not known"):
        await ask(service.port, "score_image", JPEG, input_name="cats")
    with pytest.raises(errors.AnswerInvalid, match="no output 'cats'; it has: output_alias"):
        await ask(service.port, "score_image", JPEG, output_name="cats")


# Who is let in.


async def test_the_token_is_sent_as_it_is(start: StartService, ask: Ask) -> None:
    service = await start()

    await ask(service.port, "score_image", JPEG, access_token=KEYS.primary)
    await ask(service.port, "score_image", JPEG, access_token=KEYS.secondary)

    assert [call.key for call in service.recorder.calls] == ["primary", "secondary"]


async def test_a_refused_token_is_told_and_not_tried_twice(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.TokenRefused, match=r"refuses the access token\. Pass one of") as caught:
        await ask(service.port, "score_image", JPEG, access_token="not-the-key")

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "not-the-key" not in str(caught.value)
    assert len(service.recorder.calls) == 1


async def test_a_missing_token_is_told(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.TokenRefused, match="asks for an access token"):
        await ask(service.port, "score_image", JPEG, access_token="")


async def test_without_tls_no_token_is_needed(start: StartService, ask: Ask) -> None:
    service = await start(tls=False)
    plain = {"use_ssl": False, "access_token": "", "root_certificates": None}

    assert (await ask(service.port, "score_image", JPEG, **plain)).shape == (10,)
    assert [call.key for call in service.recorder.calls] == ["none"]


# Who is trusted.


async def test_roots_come_from_a_file_too(
    start: StartService, ask: Ask, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start()
    file = tmp_path / "roots.pem"
    file.write_bytes(authority.pem)

    await ask(service.port, "score_image", JPEG, root_certificates=file)
    await ask(service.port, "score_image", JPEG, root_certificates=str(file))
    monkeypatch.setenv(ROOTS_VARIABLE, str(file))
    await ask(service.port, "score_image", JPEG, root_certificates=None)

    assert len(service.recorder.calls) == 3


async def test_the_services_own_certificate_will_do(start: StartService, ask: Ask, issued: Issued) -> None:
    service = await start()

    assert (await ask(service.port, "score_image", JPEG, root_certificates=issued.certificate)).shape == (10,)


async def test_a_damaged_certificate_takes_none_of_the_others_away(
    start: StartService, ask: Ask, authority: Authority
) -> None:
    service = await start()

    assert (await ask(service.port, "score_image", JPEG, root_certificates=DAMAGED + authority.pem)).shape == (10,)


async def test_a_certificate_of_strangers_is_told(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.Untrusted, match=r"no trusted root covers .* Pass the certificate") as caught:
        await ask(service.port, "score_image", JPEG, root_certificates=Authority.create().pem)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not service.recorder.calls


async def test_an_expired_certificate_is_told(start: StartService, ask: Ask, authority: Authority) -> None:
    service = await start(authority.issue(not_before=dt.datetime.now(dt.UTC) - 2 * DAY, valid_for=DAY))

    with pytest.raises(errors.CertificateExpired, match="has expired"):
        await ask(service.port, "score_image", JPEG)


async def test_a_certificate_for_another_name_can_be_asked_for(
    start: StartService, ask: Ask, authority: Authority
) -> None:
    service = await start(authority.issue(["cats.example.com"]))

    with pytest.raises(errors.NameMismatch, match="pass that name as ssl_target_name"):
        await ask(service.port, "score_image", JPEG)
    assert (await ask(service.port, "score_image", JPEG, ssl_target_name="cats.example.com")).shape == (10,)


async def test_a_service_without_tls_is_told(start: StartService, ask: Ask) -> None:
    service = await start(tls=False)

    with pytest.raises(errors.NotTls, match="does not speak TLS"):
        await ask(service.port, "score_image", JPEG)


# What goes wrong on the way.


async def test_a_service_that_is_away_is_told_by_its_cause(ask: Ask) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(errors.Unreachable, match="Check the address and the port") as caught:
        await ask(port, "score_image", JPEG, retries=False)

    assert str(port) not in str(caught.value)


async def test_broken_connections_are_made_anew(start: StartService, ask: Ask) -> None:
    service = await start(faults=FaultSwitch(Faults(drop_next=2)))

    assert (await ask(service.port, "score_image", JPEG)).shape == (10,)
    assert len(service.recorder.calls) == 3


async def test_a_service_that_restarts_is_waited_for(start: StartService, ask: Ask) -> None:
    service = await start()
    await service.stop(0)

    call = asyncio.ensure_future(ask(service.port, "score_image", JPEG))
    await asyncio.sleep(0.2)
    await service.start()

    assert (await call).shape == (10,)


async def test_waiting_ends_before_the_deadline_so_that_the_cause_is_told(start: StartService, ask: Ask) -> None:
    service = await start()
    await service.stop(0)

    with pytest.raises(errors.Unreachable):
        await ask(service.port, "score_image", JPEG, timeout=0.5)


async def test_one_switch_turns_retries_off(start: StartService, ask: Ask) -> None:
    service = await start(faults=FaultSwitch(Faults(drop_next=1)))

    with pytest.raises(errors.Unreachable):
        await ask(service.port, "score_image", JPEG, retries=False)
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
async def test_other_failures_are_final(
    start: StartService, ask: Ask, status: str, kind: type[errors.PredictionError]
) -> None:
    service = await start(faults=FaultSwitch(Faults(fail_next=1, fail_with=status)))

    with pytest.raises(kind) as caught:
        await ask(service.port, "score_image", JPEG)

    assert type(caught.value) is kind
    assert caught.value.code() is grpc.StatusCode[status]
    assert len(service.recorder.calls) == 1


async def test_a_service_that_never_answers_meets_the_deadline(start: StartService, ask: Ask) -> None:
    service = await start(faults=FaultSwitch(Faults(hang=True)))

    with pytest.raises(errors.DeadlinePassed, match="pass a longer timeout") as caught:
        await ask(service.port, "score_image", JPEG, timeout=0.5)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_deadline_travels_with_the_call(start: StartService, ask: Ask) -> None:
    service = await start()

    await ask(service.port, "score_image", JPEG, timeout=25)

    (call,) = service.recorder.calls
    assert call.timeout is not None
    assert 0 < call.timeout <= 25


async def test_six_images_fit_into_a_message_and_seven_do_not(start: StartService, ask: Ask) -> None:
    service = await start()

    assert (await ask(service.port, "score_numpy_array", np.repeat(IMAGE, 6, axis=0))).shape == (6, 10)
    with pytest.raises(errors.MessageTooLarge, match=r"4,214,784 bytes.*4,194,304.* 6 of the 7 images fit") as caught:
        await ask(service.port, "score_numpy_array", np.repeat(IMAGE, 7, axis=0))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(service.recorder.calls) == 1


async def test_a_file_that_fits_but_for_what_stands_around_it(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.MessageTooLarge, match="than this client sends"):
        await ask(service.port, "score_image", bytes(4 * 1024 * 1024))


async def test_a_message_that_only_the_service_refuses(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.MessageTooLarge, match="that the service takes"):
        await ask(service.port, "score_image", bytes(5_000_000), max_message_bytes=6_000_000)


async def test_an_answer_that_is_too_large(start: StartService, ask: Ask) -> None:
    service = await start()

    with pytest.raises(errors.MessageTooLarge, match="than this client takes"):
        await ask(service.port, "score_image", JPEG, max_message_bytes=80)


@pytest.mark.parametrize(
    ("answer", "words"),
    [("wrong_shape", "begins with 1"), ("missing_output", "it has: none")],
)
async def test_answers_that_are_no_scores(start: StartService, ask: Ask, answer: Any, words: str) -> None:
    service = await start(faults=FaultSwitch(Faults(answer=answer)))

    with pytest.raises(errors.AnswerInvalid, match=words):
        await ask(service.port, "score_image", JPEG)


# Connections and threads.


async def test_threads_share_one_connection(start: StartService, authority: Authority) -> None:
    service = await start()
    images = [JPEG + bytes([number]) for number in range(32)]
    with PredictionClient("localhost", service.port, True, KEYS.primary, root_certificates=authority.pem) as client:
        together = await asyncio.gather(*(asyncio.to_thread(client.score_image, image) for image in images))
        alone = [await asyncio.to_thread(client.score_image, image) for image in images]

    assert [scores.tolist() for scores in together] == [scores.tolist() for scores in alone]
    assert len({call.peer for call in service.recorder.calls}) == 1


async def test_tasks_share_one_connection(start: StartService, authority: Authority) -> None:
    service = await start()
    async with AsyncPredictionClient(
        "localhost", service.port, True, KEYS.primary, root_certificates=authority.pem
    ) as client:
        await asyncio.gather(*(client.score_image(JPEG) for _ in range(16)))

    assert len({call.peer for call in service.recorder.calls}) == 1


async def test_after_idle_time_the_connection_is_made_anew(start: StartService) -> None:
    service = await start(tls=False)
    async with AsyncPredictionClient(
        "localhost", service.port, channel_shutdown_timeout=timedelta(seconds=1)
    ) as client:
        await client.score_image(JPEG)
        async with asyncio.timeout(60):
            while len({call.peer for call in service.recorder.calls}) < 2:
                # gRPC looks at the time about once in the idle time, so it may take twice as long.
                await asyncio.sleep(2.1)
                await client.score_image(JPEG)


async def test_a_closed_client_says_so(start: StartService) -> None:
    service = await start(tls=False)
    blocking, waiting = PredictionClient("localhost", service.port), AsyncPredictionClient("localhost", service.port)
    blocking.close()
    blocking.close()
    await waiting.close()

    with pytest.raises(ValueError, match="this client is closed"):
        blocking.score_image(JPEG)
    with pytest.raises(ValueError, match="this client is closed"):
        await waiting.score_image(JPEG)


async def test_closing_ends_the_calls_under_way(start: StartService) -> None:
    service = await start(tls=False, faults=FaultSwitch(Faults(hang=True)))
    blocking, waiting = PredictionClient("localhost", service.port), AsyncPredictionClient("localhost", service.port)
    calls = [
        asyncio.create_task(asyncio.to_thread(blocking.score_image, JPEG)),
        asyncio.create_task(waiting.score_image(JPEG)),
    ]
    while len(service.recorder.calls) < 2:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)

    blocking.close()
    await waiting.close()

    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.Closed, errors.Closed]


async def test_a_cancelled_task_stays_a_cancelled_task(start: StartService) -> None:
    service = await start(tls=False, faults=FaultSwitch(Faults(hang=True)))
    async with AsyncPredictionClient("localhost", service.port) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.score_image(JPEG)
