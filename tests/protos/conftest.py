"""The processes that hold the published definitions; ``third_party.py`` is what runs in them."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).parent.parent.parent


class Published:
    """One family of published definitions, at work in its own process."""

    def __init__(self, family: str, package: str, module: str) -> None:
        if find_spec(module) is None:
            pytest.fail(f"{package} is not installed here; `make test` sets it up.", pytrace=False)
        self._family = family
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.protos.third_party", family],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its stdin ends the process.
        self._process.communicate(timeout=20)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Run a command of ``third_party.ThirdParty``; bytes go and come as they are in JSON, base64."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the process has no pipes")
        print(json.dumps({"command": command, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"the process of the published {self._family} definitions ended at {command}; see stderr"
        return json.loads(line)

    def definitions(self) -> bytes:
        """All definitions, as a serialized FileDescriptorSet."""
        return b64decode(self.ask("describe"))

    def samples(self, message: str) -> list[bytes]:
        """Messages of that name with every published field set."""
        return [b64decode(sample) for sample in self.ask("samples", message=message)]

    def read(self, message: str, data: bytes) -> tuple[Any, bytes]:
        """What a message's bytes say to the published definitions, and how those write it again."""
        answer = self.ask("read", message=message, data=b64encode(data).decode())
        return answer["content"], b64decode(answer["data"])

    def write(self, message: str, content: Any) -> bytes:
        """The bytes that the published definitions write for a message with this content."""
        return b64decode(self.ask("write", message=message, content=content))


@pytest.fixture(scope="session")
def published_tensorflow() -> Iterator[Published]:
    """TensorFlow Serving's, of the package tensorflow-protobuf."""
    with Published("tensorflow", "tensorflow-protobuf", "tensorflow_serving") as published:
        yield published


@pytest.fixture(scope="session")
def published_health() -> Iterator[Published]:
    """gRPC's health checking, of the package grpcio-health-checking."""
    with Published("health", "grpcio-health-checking", "grpc_health") as published:
        yield published
