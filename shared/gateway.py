"""The composition root: builds what a worker needs, once, at the first use.

A worker has no start and no stop hook, and an exception while the app is imported leaves it without any function. So
importing this module costs next to nothing and cannot fail; the first call reads the settings and brings in the rest.
"""

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared import settings
from shared.errors import GatewayError, NotRotated, UnknownService
from shared.settings import ServiceSettings, Settings, Tls
from shared.telemetry import Call, log
from shared.trust.secrets import Secret

if TYPE_CHECKING:
    from shared.fpga.predictor import Predictor
    from shared.rotations import Rotations
    from shared.scoring.models import Model
    from shared.scoring.scorer import Scorer
    from shared.trust.vault import Vault

# How long the health of one service may take to be told, in seconds.
HEALTH_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """One service with all that it takes to score with it."""

    settings: ServiceSettings
    predictor: "Predictor"
    scorer: "Scorer"
    model: "Model"


class Gateway:
    """Everything that one worker holds; belongs to one event loop, as its channels do."""

    def __init__(self, config: Settings) -> None:
        # The heavy imports wait for the first use: a cold start answers its health before it can score.
        from shared.scoring.models import Model  # noqa: PLC0415
        from shared.scoring.scorer import Scorer  # noqa: PLC0415

        self.settings = config
        self._decoders: dict[str, ThreadPoolExecutor] = {}
        self._vault_readers = ThreadPoolExecutor(6, "vault")
        self._vault: Vault | None = None
        self._vault_lock = threading.Lock()
        self._rotations: Rotations | None = None
        self._services: dict[str, Service] = {}
        for name, service in config.services.items():
            predictor = self._predictor(service)
            # Threads of its own, made when needed: the photographs of one service do not queue before another's.
            decoders = self._decoders[name] = ThreadPoolExecutor(os.cpu_count(), f"decode-{name}")
            admission = predictor.admission
            scorer = Scorer(service, config.limits, predictor.predict, decoders, admission)
            model = Model(service, config.limits, predictor, scorer, admission)
            self._services[name] = Service(service, predictor, scorer, model)

    def service(self, name: str | None) -> Service:
        """The service of that name; the default one for None.

        Raises:
            UnknownService: there is none.
        """
        found = self._services.get(name or self.settings.default_service)
        if found is None:
            raise UnknownService(f"The gateway has no service {name!r}.", services=sorted(self._services))
        return found

    def model(self, name: str) -> Service:
        """The service of that name, or else the only one whose model (the setting MODEL) has it.

        Raises:
            UnknownService: there is none, or there are several.
        """
        if name in self._services:
            return self._services[name]
        several = [service for service in self._services.values() if name and service.settings.model == name]
        if len(several) != 1:
            why = "several services with the model" if several else "no model"
            raise UnknownService(
                f"The gateway has {why} {name[:80]!r}; its services are: {', '.join(sorted(self._services))}.",
                services=sorted(self._services),
            )
        return several[0]

    async def connect(self) -> None:
        """Fetch all credentials and connect to all services; what fails is logged, and tried again by requests."""
        names = list(self._services)
        results = await asyncio.gather(
            *(self._services[name].predictor.connect() for name in names), return_exceptions=True
        )
        for name, result in zip(names, results, strict=True):
            if isinstance(result, GatewayError):
                log.warning("service %s is not ready: %s %s", name, result.slug, result.detail)
            elif isinstance(result, BaseException):
                raise result

    async def health(self) -> Mapping[str, "ServiceHealth"]:
        """The state of each service, asked of all at the same time."""
        states = await asyncio.gather(*(self.health_of(service) for service in self._services.values()))
        return dict(zip(self._services, states, strict=True))

    async def rotations(self) -> "Rotations":
        """The rotations of the services that are rotated.

        Raises:
            NotRotated: the settings rotate none.
        """
        if self._rotations is None:
            # In a thread: their imports take a while, and requests are not to wait.
            made = await asyncio.get_running_loop().run_in_executor(self._vault_readers, self._make_rotations)
            # Another one may have been made meanwhile.
            self._rotations, surplus = self._rotations or made, made if self._rotations else None
            if surplus is not None:
                surplus.close()
        return self._rotations

    def _make_rotations(self) -> "Rotations":
        from shared.rotations import Rotations  # noqa: PLC0415

        rotation, vault = self.settings.rotation, self.settings.vault
        if rotation is None or vault is None:
            raise NotRotated("No service of the gateway has a CONTROL_PLANE_NAME.")
        return Rotations(self.settings, rotation, vault, self._the_vault())

    async def close(self) -> None:
        if self._rotations is not None:
            # In a thread: it waits until what was to be announced has been.
            await asyncio.to_thread(self._rotations.close)
        for service in self._services.values():
            await service.predictor.close()
        for decoders in self._decoders.values():
            decoders.shutdown(wait=False)
        self._vault_readers.shutdown(wait=False)
        if self._vault is not None:
            self._vault.close()

    def _predictor(self, service: ServiceSettings) -> "Predictor":
        from shared.fpga.predictor import Predictor  # noqa: PLC0415
        from shared.trust.credentials import CredentialCache, CredentialReader  # noqa: PLC0415

        vault = self.settings.vault
        if service.tls is not Tls.REQUIRED or vault is None:
            return Predictor(service, None)
        reader = CredentialReader(service, self._read_secret, self._vault_readers)
        return Predictor(service, CredentialCache(reader, refresh_seconds=vault.refresh_seconds))

    def _read_secret(self, name: str) -> Secret:
        return self._the_vault().read(name)

    def _the_vault(self) -> "Vault":
        # Made in the thread that first reads a secret: the SDK's import is the longest of all, and must not hold up the
        # event loop.
        with self._vault_lock:
            if self._vault is None:
                from shared.trust.vault import Vault  # noqa: PLC0415

                assert self.settings.vault is not None  # noqa: S101 - only services with TLS read secrets
                self._vault = Vault(self.settings.vault)
            return self._vault

    async def health_of(self, service: Service) -> "ServiceHealth":
        """The state of one service; whatever ails it is part of the answer."""
        predictor = service.predictor
        problem, told = None, "unknown"
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                told = await predictor.health(Call("health", time.monotonic() + HEALTH_SECONDS))
        except GatewayError as error:
            problem = error
        except TimeoutError:
            told = "silent"
        cache = predictor.credentials
        return ServiceHealth(
            told=told,
            channel=predictor.channel_state,
            credentials_age=None if cache is None else cache.age,
            vault_problem=None if cache is None else cache.problem,
            problem=problem,
        )


@dataclass(frozen=True)
class ServiceHealth:
    """What is known of one service now.

    ``told`` is its own word on its health; ``credentials_age`` is in seconds, None where there are none;
    ``vault_problem`` says why the credentials are not being renewed.
    """

    told: str
    channel: str
    credentials_age: float | None
    vault_problem: GatewayError | None
    problem: GatewayError | None

    @property
    def ready(self) -> bool:
        """Whether it can be scored with: it says so, or does not speak of its health but was reached."""
        return self.problem is None and self.told in {"serving", "unknown"}


_gateways: dict[asyncio.AbstractEventLoop, Gateway] = {}


def gateway() -> Gateway:
    """The gateway of the running event loop, made at the first call.

    Raises:
        Misconfigured: the settings cannot be used; each call tells so again.
    """
    loop = asyncio.get_running_loop()
    made = _gateways.get(loop)
    if made is None:
        made = _gateways[loop] = Gateway(settings.load(os.environ))
    return made


async def forget() -> None:
    """Close the running event loop's gateway, if there is one; the next call makes another."""
    made = _gateways.pop(asyncio.get_running_loop(), None)
    if made is not None:
        await made.close()
