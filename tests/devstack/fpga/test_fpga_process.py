"""``python -m devstack.fpga`` as a process: its options, its files, its start and its end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from devstack.authority import Authority, fingerprint
from devstack.fpga import KeyPair
from devstack.photos import photo
from tests.devstack.fpga.wire import Client, eventually, files, handshake, recovered, request, scores
from tests.devstack.processes import Running, fails_to_start

MODULE = "devstack.fpga"


@pytest.fixture
def folder(tmp_path: Path, pair: KeyPair) -> Path:
    """A folder with what a secure service is given."""
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "leaf.key").write_bytes(pair.key)
    write_keys(tmp_path, "alpha", "beta")
    return tmp_path


def write_keys(folder: Path, primary: str, secondary: str) -> None:
    (folder / "keys.json").write_text(json.dumps({"primaryKey": primary, "secondaryKey": secondary}))


def secure(folder: Path) -> list[str]:
    names = {"--certificate": "chain.pem", "--key": "leaf.key", "--keys": "keys.json"}
    return [argument for option, name in names.items() for argument in (option, str(folder / name))]


def run(folder: Path, *arguments: str) -> Running:
    return Running(MODULE, *arguments, log=folder / "log")


@asynccontextmanager
async def client(address: str, roots: bytes | None = None, key: str | None = None) -> AsyncIterator[Client]:
    made = Client(address, roots, key)
    yield made
    await made.close()


async def test_the_real_model_is_served_over_tls_with_keys(folder: Path, authority: Authority) -> None:
    with run(folder, *secure(folder)) as running:
        async with client(running.address, authority.pem, "beta") as calls:
            answer = await calls.predict(request(files(photo("coffee").read_bytes())))
    assert scores(answer)[0, 967] == pytest.approx(0.951, abs=0.02)
    assert "Traceback" not in running.log


def test_the_published_stubs_of_tensorflow_serving_are_answered(folder: Path) -> None:
    """In a process of their own: they have the names of the project's, and one process has room for one of each."""
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
    with run(folder, "--insecure") as running:
        command = [sys.executable, "-c", program, running.address]
        ended = subprocess.run(command, input=image, capture_output=True, check=False, timeout=30)
    assert ended.stdout.decode().strip() == "[1, 1000] 967 imagenet 1", ended.stderr.decode()


async def test_files_that_change_are_taken_up_by_the_running_process(folder: Path, authority: Authority) -> None:
    faults, record = folder / "faults.json", folder / "calls.jsonl"
    options = ["--engine", "simulated", "--latency-ms", "0", "--faults", str(faults), "--record", str(record)]
    with run(folder, *secure(folder), *options) as running:
        async with client(running.address, authority.pem, "alpha") as calls:
            await calls.predict()

            write_keys(folder, "gamma", "beta")
            with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
                await calls.predict()
            calls.key = "gamma"

            faults.write_text('{"fail_next": 1, "fail_with": "ABORTED"}')
            with pytest.raises(grpc.aio.AioRpcError, match="ABORTED"):
                await calls.predict()
            faults.unlink()

            renewed = authority.issue()
            (folder / "leaf.key").write_bytes(renewed.key)
            (folder / "chain.pem").write_bytes(renewed.chain)
            port = int(running.address.split(":")[1])
            shown, _, _ = await asyncio.to_thread(handshake, port, authority.pem)
            await calls.predict()
        assert running.stop(signal.SIGTERM) == (0, "")
    assert KeyPair(renewed.chain, renewed.key).fingerprint == fingerprint_of(shown)
    recorded = [json.loads(line) for line in record.read_text().splitlines()]
    assert [call["key"] for call in recorded] == ["primary", "wrong", "primary", "primary"]
    assert len({call["peer"] for call in recorded}) == 1
    assert not any(key in running.log + record.read_text() for key in ("alpha", "beta", "gamma"))


def fingerprint_of(der: bytes) -> str:
    from ssl import DER_cert_to_PEM_cert

    return fingerprint(DER_cert_to_PEM_cert(der).encode())


async def test_options_shape_a_plain_service(folder: Path) -> None:
    options = ["--engine", "simulated", "--output", "features", "--classes", "2048", "--name", "resnet50"]
    with run(folder, "--insecure", *options, "--model-version", "7") as running:
        async with client(running.address) as calls:
            answer = await calls.predict(request(model_spec={"name": "resnet50"}))
    assert scores(answer).shape == (1, 1, 1, 2048)
    assert answer.model_spec.version.value == 7


async def test_a_signal_ends_the_process_though_a_call_hangs(folder: Path) -> None:
    faults, record = folder / "faults.json", folder / "calls.jsonl"
    faults.write_text('{"hang": true}')
    options = ["--engine", "simulated", "--faults", str(faults), "--record", str(record)]
    with run(folder, "--insecure", *options) as running:
        async with client(running.address) as calls:
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await calls.predict(deadline=0.2)
            call = asyncio.create_task(calls.predict())
            await eventually(lambda: record.read_text().count("\n") == 2)
            assert await asyncio.to_thread(running.stop, signal.SIGINT) == (0, "")
            with pytest.raises(grpc.aio.AioRpcError, match="the service is stopping"):
                await call
    assert running.log == ""


async def test_dropped_connections_leave_no_trace_in_the_log(folder: Path) -> None:
    faults = folder / "faults.json"
    faults.write_text('{"drop_next": 1}')
    with run(folder, "--insecure", "--engine", "simulated", "--faults", str(faults)) as running:
        async with client(running.address) as calls:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await calls.predict()
            await recovered(calls)
    assert running.log == ""


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails_to_start(MODULE, "--insecure", "--engine", "simulated", "--port", str(port))
    assert line == (f"port {port} on 127.0.0.1 is in use: stop the program that has it, or choose another with --port")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "--certificate and --key and --keys missing: give them, or --insecure"),
        (["--insecure", "--keys", "keys.json"], "--insecure contradicts --keys"),
        (["--insecure", "--engine", "simulated", "--latency-ms", "-1"], "the latency must not be negative"),
        (["--insecure", "--engine", "simulated", "--classes", "1"], "--classes must be 2 or more"),
        (["--insecure", "--model", "none.onnx"], "none.onnx cannot be loaded"),
        (["--insecure", "--record", "/none/calls"], "/none/calls: No such file or directory"),
    ],
)
def test_options_that_cannot_be_are_one_line(arguments: list[str], line: str) -> None:
    assert line in fails_to_start(MODULE, *arguments)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("keys.json", "{}", '--keys: expected {"primaryKey": "...", "secondaryKey": "..."}'),
        ("chain.pem", "", "--certificate and --key: the certificate is not PEM"),
        ("leaf.key", None, "leaf.key: No such file or directory"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(folder: Path, name: str, content: str | None, line: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    assert line in fails_to_start(MODULE, "--engine", "simulated", *secure(folder))
