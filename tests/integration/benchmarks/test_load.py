"""The load clients, and the servers that the harness has for them."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from benchmarks.comparison.workloads import Payloads, Workload, message_of
from benchmarks.harness.errors import BadAnswer
from benchmarks.harness.grpc_load import GrpcLoad
from benchmarks.harness.http_client import post
from benchmarks.harness.http_load import HttpLoad
from benchmarks.harness.launch import free_port
from benchmarks.harness.open_loop import Load, send
from benchmarks.harness.paths import ROOT
from devstack.authority import Authority
from protos.health_pb2 import HealthCheckResponse

TIMEOUT = 60


def started(*command: str) -> Iterator[str]:
    """A module that prints ``ready ADDRESS``; gives its address, and ends it."""
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield process.stdout.readline().removeprefix("ready ").strip()
    process.terminate()
    assert process.wait(TIMEOUT) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def null_server() -> Iterator[int]:
    """Its port; started by the program that starts the compared servers."""
    port = free_port()
    server = ("--", sys.executable, "-m", "benchmarks.harness.null_server", "--port", str(port))
    for address in started("benchmarks.harness.launch", "--processors", "0", "--port", str(port), *server):
        assert address == f"http://127.0.0.1:{port}"
        yield port


async def test_a_slice_ends_when_all_requests_under_way_are_answered(null_server: int) -> None:
    async with HttpLoad(null_server, post("/", "image/jpeg", b"x" * 3_000_000), 3) as load:
        body = await load.first()
        taken = await load.run(0, least=5)

    assert json.loads(body) == {"predictions": [{"labels": []}]}
    assert len(taken.took) == 15
    assert min(taken.took) > 0


async def test_a_server_that_accepts_no_connection_is_an_error() -> None:
    async with HttpLoad(free_port(), post("/", "image/jpeg", b"x"), 1) as load:
        with pytest.raises(BadAnswer, match="refused"):
            await load.run(0)


@pytest.mark.parametrize(("cut", "status"), [(0, 200), (1, 0)], ids=["answered", "not answered"])
def test_the_open_loop_sends_each_request_and_clients_disconnect(null_server: int, cut: int, status: int) -> None:
    request = post("/", "image/jpeg", b"x" * 100)
    load = Load(request[: len(request) - cut], rate=200, seconds=0.2)

    answers = send(null_server, load, leave_after=0.2 if cut else TIMEOUT)

    assert sorted(answer.at for answer in answers) == load.times(1)
    assert {answer.status for answer in answers} == {status}


def test_a_request_that_cannot_be_sent_has_no_answer() -> None:
    answers = send(free_port(), Load(post("/", "image/jpeg", b"x"), rate=100, seconds=0.1))

    assert {answer.status for answer in answers} == {0}


@pytest.fixture(scope="module")
def payloads() -> Payloads:
    return Payloads.make()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def fast_service(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    issued = authority.issue()
    certificate = Path(tmp_path_factory.mktemp("fast"), "service.pem")
    certificate.write_bytes(issued.key + issued.chain)
    yield from started("benchmarks.harness.fast_service", "--certificate", str(certificate))


@pytest.mark.parametrize("workload", [Workload.JPEG, Workload.TENSOR, Workload.FILES])
async def test_the_fast_service_answers_as_the_simulated_engine(
    fast_service: str, authority: Authority, payloads: Payloads, workload: Workload
) -> None:
    async with GrpcLoad.secure(fast_service, authority.pem, "any-key", payloads.message(workload)) as load:
        assert message_of(await load.call()) == payloads.expected(workload)


async def test_many_concurrent_calls_are_all_answered_though_the_client_s_window_is_small(
    fast_service: str, authority: Authority, payloads: Payloads
) -> None:
    # 64 answers of 32 KB are more than a connection's default window.
    async with GrpcLoad.secure(fast_service, authority.pem, "any-key", payloads.message(Workload.FILES), 64) as load:
        taken = await load.run(0, least=4)

    assert len(taken.took) >= 4 * 64


async def test_the_fast_service_answers_health_checks(fast_service: str, authority: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(root_certificates=authority.pem)
    async with grpc.aio.secure_channel(fast_service, credentials) as channel:
        check: Callable[..., Awaitable[bytes]] = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = await check(b"", timeout=TIMEOUT)

    assert HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING
