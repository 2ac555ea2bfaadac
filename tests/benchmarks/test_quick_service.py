"""The benchmark's quick service answers gRPC's own client as the FPGA service does."""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from benchmarks.grpc_load import GrpcLoad
from benchmarks.works import Materials, Work, message_of
from devstack.authority import Authority
from protos.health_pb2 import HealthCheckResponse
from tests.conftest import ROOT

PATIENCE = 60


@pytest.fixture(scope="module")
def made() -> Materials:
    return Materials.make()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    issued = authority.issue()
    certificate = Path(tmp_path_factory.mktemp("quick"), "service.pem")
    certificate.write_bytes(issued.key + issued.chain)
    command = [sys.executable, "-m", "benchmarks.quick_service", "--certificate", str(certificate)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield process.stdout.readline().removeprefix("ready ").strip()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


@pytest.mark.parametrize("work", [Work.JPEG, Work.TENSOR, Work.FILES])
async def test_the_answer_is_the_simulated_engine_s(
    address: str, authority: Authority, made: Materials, work: Work
) -> None:
    async with GrpcLoad.secure(address, authority.pem, "any-key", made.message(work)) as load:
        assert message_of(await load.call()) == made.best(work)


async def test_many_calls_at_once_are_all_answered_though_the_client_s_window_is_small(
    address: str, authority: Authority, made: Materials
) -> None:
    # 64 answers of 32 KB are more than a connection may have under way by default.
    async with GrpcLoad.secure(address, authority.pem, "any-key", made.message(Work.FILES)) as load:
        taken = await load.run(64, 0, least=4)

    assert len(taken.done) >= 4 * 64


async def test_it_says_that_it_is_well(address: str, authority: Authority) -> None:
    credentials = grpc.ssl_channel_credentials(root_certificates=authority.pem)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        check: Callable[..., Awaitable[bytes]] = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = await check(b"", timeout=PATIENCE)

    assert HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING
