"""Two instances of one inference service, at two addresses and one port; each can be killed, and started again."""

import asyncio
import json
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.launch import free_port
from benchmarks.harness.paths import ROOT
from benchmarks.harness.testbed import AUTHORITY_PINS, Testbed, service_settings

NAME = "pair"
HOSTS = ("127.0.0.1", "127.0.0.2")

_START_SECONDS = 30.0
_KEYS = ("primary", "secondary")


class Instance:
    """One process; its supervisor is this one alone, for which its end is no failure."""

    # _record  the file to which the process appends its calls

    def __init__(self, host: str, folder: Path, arguments: Sequence[str]) -> None:
        self._host = host
        self._record = folder / f"{NAME}-{host}.calls"
        self._log = folder / f"{NAME}-{host}.log"
        self._arguments = (*arguments, "--host", host, "--record", str(self._record))
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it serves.

        Raises:
            BenchmarkFailed: it does not start.
        """
        command = (sys.executable, "-m", "devstack.tethered", "devstack.fpga", *self._arguments)
        with self._log.open("ab") as log:
            # Its standard input is the tether, with which it ends.
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=log
            )
        line = b""
        if self._process.stdout:
            async with asyncio.timeout(_START_SECONDS):
                line = await self._process.stdout.readline()
        if not line.startswith(b"ready "):
            raise BenchmarkFailed(f"An instance of {NAME} did not start; its log: {self._log}")

    async def kill(self) -> None:
        """End it at once, in the middle of its calls."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def calls(self) -> int:
        """Grows with each call that it answers."""
        return self._record.stat().st_size if self._record.exists() else 0


class Instances:
    """Both; made before Key Vault starts, which gets their keys."""

    def __init__(self, testbed: Testbed) -> None:
        folder, self._port = testbed.options.folder, free_port()
        arguments = (*_arguments(testbed, folder), "--port", str(self._port))
        self.each = [Instance(host, folder, arguments) for host in HOSTS]

    @classmethod
    @asynccontextmanager
    async def of(cls, testbed: Testbed) -> AsyncIterator[Self]:
        """Make both, and kill them at the end."""
        made = cls(testbed)
        try:
            yield made
        finally:
            for instance in made.each:
                await instance.kill()

    async def start(self) -> None:
        """Start both.

        Raises:
            BenchmarkFailed: one does not start.
        """
        await asyncio.gather(*(instance.start() for instance in self.each))

    @property
    def settings(self) -> Mapping[str, str]:
        """The app settings of their service."""
        own = {"ADDRESS": ",".join(HOSTS), "TLS_NAME": "localhost", "MODEL": "imagenet", **AUTHORITY_PINS}
        return service_settings(NAME, f"{HOSTS[0]}:{self._port}", own)


def _arguments(testbed: Testbed, folder: Path) -> Sequence[str]:
    """Of both processes: keys of their own, which are stored in the vault too, and a certificate."""
    made = {kind: secrets.token_urlsafe(24) for kind in _KEYS}
    for kind, value in made.items():
        testbed.vault.set(f"{NAME}-{kind}-key", value)
    issued = testbed.authority.issue()
    files = {
        "--keys": json.dumps({f"{kind}Key": value for kind, value in made.items()}).encode(),
        "--certificate": issued.chain,
        "--key": issued.key,
    }
    arguments = ["--engine", "simulated", "--latency-ms", "0"]
    for option, content in files.items():
        file = folder / f"{NAME}{option}"
        file.write_bytes(content)
        arguments += [option, str(file)]
    return arguments
