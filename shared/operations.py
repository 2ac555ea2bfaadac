"""What the operations page shows of the services: what all instances share, each part read by itself, side by side.

A part that cannot be read is the error that says why, and hides no other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from shared.errors import ControlPlaneUnreachable, GatewayError, InternalError, ServiceUnreachable, VaultUnreachable
from shared.rotation import overview
from shared.rotation.overview import ReadSecret
from shared.rotation.scheduler import Rotations
from shared.rotation.status import Json
from shared.settings import ServiceSettings
from shared.telemetry import fault_path, in_thread, log
from shared.threads import DaemonExecutor

# Seconds for a part.
SECONDS = 8.0

# Parts that are read at the same time; the threads wait most of their time.
_CONCURRENT = 24

type Part = Json | GatewayError

# Who did not respond where a part was not read in time.
_LATE: Mapping[str, type[GatewayError]] = {
    "served": ServiceUnreachable,
    "pinned": VaultUnreachable,
    "keys": VaultUnreachable,
    "rotation": ControlPlaneUnreachable,
}


class Operations:
    """Reads what all instances share; made once a worker, when it is first asked for."""

    def __init__(
        self, services: Mapping[str, ServiceSettings], read_secret: ReadSecret, rotations: Rotations | None
    ) -> None:
        self._services = services
        self._read_secret = read_secret
        self._rotations = rotations
        self._threads = DaemonExecutor(_CONCURRENT, "operations")

    async def read(self) -> dict[str, dict[str, Part]]:
        """The parts of each service (:data:`shared.rotation.overview.PARTS`), read now."""
        found = await asyncio.gather(*map(self._service, self._services.values()))
        return dict(zip(self._services, found, strict=True))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _service(self, service: ServiceSettings) -> dict[str, Part]:
        absent = overview.not_applicable(service)
        readers: dict[str, Callable[[], Awaitable[Json]]] = {
            "served": lambda: self._served(service),
            "pinned": lambda: in_thread(self._threads, overview.pinned, service, self._read_secret),
            "keys": lambda: in_thread(self._threads, overview.keys, service, self._read_secret),
            "rotation": lambda: self._observe(service.name),
        }
        wanted = [part for part in readers if part not in absent]
        found = await asyncio.gather(*(_part(service.name, part, readers[part]) for part in wanted))
        read = dict(zip(wanted, found, strict=True))
        rotation = read.pop("rotation", {})
        read |= {"stored": rotation, "rotation": rotation} if isinstance(rotation, GatewayError) else rotation
        return {part: read[part] if part in read else {"not_applicable": absent[part]} for part in overview.PARTS}

    async def _served(self, service: ServiceSettings) -> Json:
        handshakes = (in_thread(self._threads, overview.presented, service, one) for one in service.addresses)
        return overview.served(await asyncio.gather(*handshakes))

    async def _observe(self, name: str) -> Json:
        """The rotation, and the certificate that is stored for it."""
        assert self._rotations is not None  # noqa: S101 - a gateway with a rotated service has rotations
        outcome = (await self._rotations.observe(name))[name]
        if outcome.observation is None:
            raise outcome.problem or InternalError("The rotation was not observed.")
        return await in_thread(self._threads, overview.of_rotation, outcome.observation)


async def _part(service: str, part: str, read: Callable[[], Awaitable[Json]]) -> Part:
    try:
        async with asyncio.timeout(SECONDS):
            return await read()
    except GatewayError as error:
        return error
    except TimeoutError:
        return _LATE[part](f"There was no response within {SECONDS:g} s.", retry_after=1)
    except Exception as fault:
        log.error("operations, %s of %s: internal-error %s", part, service, fault_path(fault))
        return InternalError("An unexpected fault prevented that it is read.")
