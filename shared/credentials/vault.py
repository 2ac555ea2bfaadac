"""The worker's Key Vault: made when it is first needed, read in threads of its own, and early for a first request."""

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.credentials.secrets import Secret
from shared.settings import VaultSettings
from shared.threads import DaemonExecutor

if TYPE_CHECKING:
    from concurrent.futures import Future

    from shared.credentials.key_vault import KeyVault

# Threads that read: the secrets of two services at a time.
_READERS = 6
# Seconds for which a secret that was read early counts as one that is read now.
EARLY_SECONDS = 5.0


class Vault:
    """Reads secrets with the gateway's identity; ``readers`` is where that blocks."""

    # _early  the reads that were begun before anybody asked, by the secret's name; each is used once

    def __init__(self, settings: VaultSettings | None) -> None:
        self.readers = DaemonExecutor(_READERS, "vault")
        self._settings = settings
        self._client: KeyVault | None = None
        self._lock = threading.Lock()
        self._early: dict[str, Future[Secret]] = {}
        self._early_until = 0.0

    async def begin(self, names: Iterable[str]) -> None:
        """Begin to read these secrets, which will be needed soon.

        The SDK's import is waited for, in a thread: a cold start has one processor, and what is imported after this
        is imported while Key Vault is waited for.
        """
        with suppress(Exception):  # the first read raises it again
            client = await asyncio.get_running_loop().run_in_executor(self.readers, self.client)
            self._early_until = time.monotonic() + EARLY_SECONDS
            self._early = {name: self.readers.submit(client.read, name) for name in names}

    def read(self, name: str) -> Secret:
        """The latest version of a secret; blocks.

        Raises:
            GatewayError: it cannot be read; the cause.
        """
        early = self._early.pop(name, None)
        if early is not None and time.monotonic() < self._early_until:
            return early.result()
        return self.client().read(name)

    def client(self) -> "KeyVault":
        """The client, made in the thread that first needs it.

        Its SDK's import is the longest of all, and must not block the event loop.
        """
        with self._lock:
            if self._client is None:
                from shared.credentials.key_vault import KeyVault  # noqa: PLC0415 - as above

                assert self._settings is not None  # noqa: S101 - only services with TLS read secrets
                self._client = KeyVault(self._settings)
            return self._client

    def close(self) -> None:
        self.readers.shutdown()
        if self._client is not None:
            self._client.close()
