"""The processes with the published protobuf definitions, which run ``third_party.py``."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Self

import pytest

from tests.conftest import ROOT


class Published:
    """A family of published definitions in a separate process."""

    def __init__(self, family: str, package: str, module: str) -> None:
        if find_spec(module) is None:
            pytest.fail(f"{package} is not installed; `make test` installs it.", pytrace=False)
        self._family = family
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.protobuf.third_party", family],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The process ends when its stdin is closed.
        self._process.communicate(timeout=20)

    def run(self, command: str, **arguments: Any) -> Any:
        """Run a command of ``third_party.ThirdParty``; bytes are base64 in arguments and results."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the process has no pipes")
        print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the process of the published {self._family} definitions ended at {command}; see stderr"
        return json.loads(line)

    def definitions(self) -> bytes:
        """All definitions, as a serialized FileDescriptorSet."""
        return b64decode(self.run("describe"))

    def samples(self, message: str) -> list[bytes]:
        """Messages of that name with every published field set."""
        return [b64decode(sample) for sample in self.run("samples", message=message)]

    def read(self, message: str, data: bytes) -> tuple[Any, bytes]:
        """Parse a message with the published definitions; returns its content, and its serialization."""
        response = self.run("read", message=message, data=b64encode(data).decode())
        return response["content"], b64decode(response["data"])

    def write(self, message: str, content: Any) -> bytes:
        """Serialize a message with this content by the published definitions."""
        return b64decode(self.run("write", message=message, content=content))


@pytest.fixture(scope="session")
def published_tensorflow() -> Iterator[Published]:
    """TensorFlow Serving's definitions, from the package tensorflow-protobuf."""
    with Published("tensorflow", "tensorflow-protobuf", "tensorflow_serving") as published:
        yield published


@pytest.fixture(scope="session")
def published_health() -> Iterator[Published]:
    """gRPC's health checking definitions, from the package grpcio-health-checking."""
    with Published("health", "grpcio-health-checking", "grpc_health") as published:
        yield published


@pytest.fixture(scope="session")
def published_open_inference() -> Iterator[Published]:
    """The Open Inference Protocol's definitions, from the package tritonclient."""
    with Published("open_inference", "tritonclient", "tritonclient") as published:
        yield published
