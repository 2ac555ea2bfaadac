"""``python -m devstack.fpga`` as a process: its options, its files, its start and its end."""

import asyncio
import hashlib
import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from devstack.authority import Authority, Issued, fingerprint
from devstack.photos import photo
from tests.support.devstack.fpga import Client, failure, handshake, predict_after_reconnect
from tests.support.devstack.processes import ServerProcess, start_error, wait_until_async

MODULE = "devstack.fpga"


@pytest.fixture
def folder(tmp_path: Path, issued: Issued) -> Path:
    """A folder with the files of a service with TLS."""
    (tmp_path / "chain.pem").write_bytes(issued.chain)
    (tmp_path / "leaf.key").write_bytes(issued.key)
    write_keys(tmp_path, "alpha", "beta")
    return tmp_path


def write_keys(folder: Path, primary: str, secondary: str) -> None:
    (folder / "keys.json").write_text(json.dumps({"primaryKey": primary, "secondaryKey": secondary}))


def secure(folder: Path) -> list[str]:
    names = {"--certificate": "chain.pem", "--key": "leaf.key", "--keys": "keys.json"}
    return [argument for option, name in names.items() for argument in (option, str(folder / name))]


@asynccontextmanager
async def connect(address: str, roots: bytes | None = None, key: str | None = None) -> AsyncIterator[Client]:
    made = Client(address, roots, key)
    yield made
    await made.close()


def test_the_published_stubs_of_tensorflow_serving_work(folder: Path) -> None:
    """In a process of its own: they have the names of the project's, and a process can register each name once."""
    program = """if True:
        import sys
        import grpc
        import numpy as np
        from tensorflow.core.framework import tensor_pb2
        from tensorflow_serving.apis import predict_pb2

        image = tensor_pb2.TensorProto(dtype=7, string_val=[sys.stdin.buffer.read()])
        image.tensor_shape.dim.add(size=1)
        request = predict_pb2.PredictRequest(inputs={"images": image})
        with grpc.insecure_channel(sys.argv[1]) as channel:
            predict = channel.unary_unary(
                "/tensorflow.serving.PredictionService/Predict",
                predict_pb2.PredictRequest.SerializeToString,
                predict_pb2.PredictResponse.FromString,
            )
            response = predict(request, timeout=10)
        output = response.outputs["output_alias"]
        shape = [dim.size for dim in output.tensor_shape.dim]
        print(shape, np.argmax(output.float_val), response.model_spec.name, response.model_spec.version.value)
    """
    image = photo("coffee").read_bytes()
    with ServerProcess(MODULE, "--insecure", log=folder / "log") as running:
        command = [sys.executable, "-c", program, running.address]
        ended = subprocess.run(command, input=image, capture_output=True, check=False, timeout=30)
    assert ended.stdout.decode().strip() == "[1, 1000] 967 imagenet 1", ended.stderr.decode()


async def test_changed_files_are_read_by_the_running_process(folder: Path, authority: Authority) -> None:
    faults, record = folder / "faults.json", folder / "calls.jsonl"
    options = ["--engine", "simulated", "--latency-ms", "0", "--faults", str(faults), "--record", str(record)]
    trusted = ssl.create_default_context(cadata=authority.pem.decode())

    async def served() -> str:
        leaf, _, _ = await asyncio.to_thread(handshake, int(running.address.split(":")[1]), trusted)
        return hashlib.sha256(leaf).hexdigest()

    with ServerProcess(MODULE, *secure(folder), *options, log=folder / "log") as running:
        async with connect(running.address, authority.pem, "alpha") as client:
            await client.predict()

            write_keys(folder, "gamma", "beta")
            assert (await failure(client.predict())).code() is grpc.StatusCode.UNAUTHENTICATED
            client.key = "gamma"

            faults.write_text('{"fail_next": 1, "fail_with": "ABORTED"}')
            assert (await failure(client.predict())).code() is grpc.StatusCode.ABORTED
            faults.unlink()

            # Half-written files are ignored until both belong together.
            before, renewed = await served(), authority.issue()
            (folder / "chain.pem").write_bytes(renewed.chain[:300])
            assert await served() == before
            (folder / "chain.pem").write_bytes(renewed.chain)
            assert await served() == before
            (folder / "leaf.key").write_bytes(renewed.key)
            assert await served() == fingerprint(renewed.certificate)
            await client.predict()
        assert running.stop(signal.SIGTERM) == (0, "")
    recorded = [json.loads(line) for line in record.read_text().splitlines()]
    assert [call["key"] for call in recorded] == ["primary", "wrong", "primary", "primary"]
    assert len({call["peer"] for call in recorded}) == 1
    assert not any(key in running.log + record.read_text() for key in ("alpha", "beta", "gamma"))


async def test_dropped_connections_and_a_signal_while_a_call_hangs_are_silent(folder: Path) -> None:
    faults, record = folder / "faults.json", folder / "calls.jsonl"
    options = ["--engine", "simulated", "--faults", str(faults), "--record", str(record)]
    faults.write_text('{"drop_next": 1}')
    with ServerProcess(MODULE, "--insecure", *options, log=folder / "log") as running:
        async with connect(running.address) as client:
            assert (await failure(client.predict())).code() is grpc.StatusCode.UNAVAILABLE
            await predict_after_reconnect(client)
            assert running.log == ""
            faults.write_text('{"hang": true, "delay_ms": 1}')
            before = record.read_text().count("\n")
            call = asyncio.create_task(client.predict())
            await wait_until_async(lambda: record.read_text().count("\n") > before, "the call arrives")
            assert await asyncio.to_thread(running.stop, signal.SIGINT) == (0, "")
            with pytest.raises(grpc.aio.AioRpcError, match="the service is stopping"):
                await call
    assert running.log.count("\n") == 1, "the faults changed"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--insecure", "--keys", "keys.json"], "--insecure contradicts --keys"),
        (["--insecure", "--record", "/none/calls"], "/none/calls: No such file or directory"),
    ],
)
def test_invalid_options_are_refused(arguments: list[str], error: str) -> None:
    assert error in start_error(MODULE, *arguments)


def test_invalid_keys_and_a_port_in_use_are_refused(folder: Path) -> None:
    options = ("--engine", "simulated", *secure(folder))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = start_error(MODULE, *options, "--port", str(port))
    assert line == f"port {port} on 127.0.0.1 is in use: stop the program that uses it, or choose another --port"
    (folder / "keys.json").write_text('["secret"]')
    assert start_error(MODULE, *options) == '--keys: expected {"primaryKey": "...", "secondaryKey": "..."}'
