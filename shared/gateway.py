"""The composition root: builds what a worker needs, once, at the first use.

A worker has no start and no stop hook, and an exception while the app is imported leaves it without any function. So
importing this module costs next to nothing and cannot fail; the first call reads the settings and imports the rest.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from shared import settings
from shared.credentials.secrets import Secret
from shared.credentials.vault import Vault
from shared.errors import GatewayError, InternalError, NotRotated, UnknownService
from shared.health import ServiceHealth, SplitHealth, split_health
from shared.preload import PRELOAD
from shared.quoting import quoted
from shared.settings import Auth, Protocol, ServiceSettings, Settings, SplitSettings, Tls, VaultSettings
from shared.telemetry import RequestContext, fault_path, log, record, worker_log
from shared.threads import DaemonExecutor

if TYPE_CHECKING:
    from shared.credentials.cache import CredentialCache
    from shared.credentials.pins import ClientCertificate
    from shared.operations import Operations
    from shared.reporting import Reporting
    from shared.rotation.scheduler import Rotations
    from shared.scoring.decoding.decoder import Decoder
    from shared.scoring.decoding.memory import Memory
    from shared.scoring.golden.watch import Golden
    from shared.scoring.models import Model
    from shared.scoring.scorer import Scorer
    from shared.traffic.split import Split
    from shared.upstream.codecs import Codec
    from shared.upstream.service import Upstream

# Seconds to connect to one service at warm-up, and to ask one for its health.
CONNECT_SECONDS = 10.0
HEALTH_SECONDS = 2.0

# Seconds for which one answer about the services' readiness is given to all who ask without a key.
SHARED_SECONDS = 1.0

# Seconds after which the token of a service with AUTH=entra is asked for again.
TOKEN_SECONDS = 120.0

# Seconds for the last export of a timer's run.
FLUSH_SECONDS = 5.0


class Service(NamedTuple):
    """One service with all that it takes to score with it."""

    upstream: "Upstream"
    scorer: "Scorer"
    model: "Model"
    golden: "Golden | None" = None

    @property
    def settings(self) -> ServiceSettings:
        return self.upstream.settings

    async def close(self) -> None:
        if self.golden is not None:
            self.golden.close()
        if (cache := self.upstream.client.credentials) is not None:
            cache.close()
        await self.upstream.client.close()


class Gateway:
    """Everything that one worker holds; belongs to one event loop, as its channels do.

    ``read_secret`` stands for Key Vault where secrets are checked before they are stored; ``vault`` may have begun to
    read.
    """

    def __init__(
        self, config: Settings, read_secret: Callable[[str], Secret] | None = None, vault: Vault | None = None
    ) -> None:
        self.settings = config
        if not config.telemetry.log_invocations:
            worker_log.switch_off()
        self._vault = vault or Vault(config.vault)
        self._read_secret = read_secret or self._vault.read
        self.memory, self._decoder = self._make_decoder()
        self._decoders: dict[str, DaemonExecutor] = {}
        self._rotations: Rotations | None = None
        self._operations: Operations | None = None
        self._readiness: asyncio.Future[Mapping[str, ServiceHealth | SplitHealth]] | None = None
        self._asked_at = 0.0
        self._services = {name: self._compose(service) for name, service in config.services.items()}
        self._splits = {name: self._make_split(split) for name, split in config.splits.items()}
        self.reporting = self._make_reporting()
        self.request_policy = record.Policy(
            config.telemetry.target_seconds,
            config.telemetry.slow_seconds,
            None if self.reporting is None else self.reporting.tracer,
        )

    def service(self, name: str | None) -> "Service | Split":
        """The service of that name; the default one for None.

        Raises:
            UnknownService: there is none.
        """
        name = name or self.settings.default_service
        found = self._services.get(name) or self._splits.get(name)
        if found is None:
            raise self._unknown(f"no service '{quoted(name, limit=80)}'", name)
        return found

    def model(self, name: str) -> "Service | Split":
        """The service of that name, or else the only one whose model (the setting MODEL) has it.

        Of several, the split that has them all as members.

        Raises:
            UnknownService: there is none, or there are several.
        """
        if name in self._services or name in self._splits:
            return self.service(name)
        several = {one: service for one, service in self._services.items() if name and service.settings.model == name}
        if len(several) == 1:
            return next(iter(several.values()))
        over_all = [split for split in self._splits.values() if several and several.keys() <= set(split.members)]
        if len(over_all) != 1:
            why = "several services with the model" if several else "no model"
            raise self._unknown(f"{why} '{quoted(name, limit=80)}'", name)
        return over_all[0]

    def member(self, name: str) -> Service:
        """A member of a split."""
        return self._services[name]

    def _unknown(self, what: str, name: str) -> UnknownService:
        import difflib  # noqa: PLC0415 - for this error alone

        services = sorted([*self._services, *self._splits])
        near = difflib.get_close_matches(name[:80], services, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        return UnknownService(
            f"The gateway has {what}; its services are: {', '.join(services)}.{meant}", services=services
        )

    async def connect(self) -> None:
        """Fetch all credentials, connect to all services, and read the metadata of those that are discovered.

        Failures are logged, and requests try again.
        """
        names = list(self._services)
        context = RequestContext("warm-up", time.monotonic() + CONNECT_SECONDS)
        results = await asyncio.gather(
            *(self._services[name].upstream.warm_up(context) for name in names), return_exceptions=True
        )
        for name, result in zip(names, results, strict=True):
            if isinstance(result, GatewayError):
                own = self._services[name].settings
                where = f"{','.join(own.addresses)} port {own.port}"
                log.warning("service %s (%s) is not ready: %s %s", name, where, result.slug, result.detail)
            elif isinstance(result, Exception):
                log.error("service %s is not ready: internal-error %s", name, fault_path(result))
            elif isinstance(result, BaseException):
                raise result

    async def readiness(self) -> "Mapping[str, ServiceHealth | SplitHealth]":
        """As :meth:`health`, but an answer is shared by all who ask within a second.

        For routes without a key: a stranger cannot make the gateway call the services more often than that.
        """
        now = time.monotonic()
        if self._readiness is None or (self._readiness.done() and now - self._asked_at > SHARED_SECONDS):
            self._readiness, self._asked_at = asyncio.ensure_future(self.health()), now
        # It is not cancelled with the request of one who waits for it.
        return await asyncio.shield(self._readiness)

    async def health(self) -> "Mapping[str, ServiceHealth | SplitHealth]":
        """The health of each service, asked of all at the same time."""
        asked = await asyncio.gather(*(self._ask(service) for service in self._services.values()))
        states = dict(zip(self._services, asked, strict=True))
        return {**states, **{name: split_health(split, states) for name, split in self._splits.items()}}

    def all_ready(self, states: "Mapping[str, ServiceHealth | SplitHealth]") -> bool:
        """Whether everything can be scored with: of a split's members, one is enough."""
        members = {name for split in self._splits.values() for name in split.members}
        return all(state.ready for name, state in states.items() if name not in members)

    async def health_of(self, service: "Service | Split") -> ServiceHealth | SplitHealth:
        """The health of one service; a failure is part of the result."""
        if isinstance(service, Service):
            return await self._ask(service)
        asked = await asyncio.gather(*(self._ask(self._services[name]) for name in service.members))
        return split_health(service, dict(zip(service.members, asked, strict=True)))

    async def _ask(self, service: Service) -> ServiceHealth:
        """The health of one service; a failure is part of the result."""
        client = service.upstream.client
        problem, reported = None, "unknown"
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                context = RequestContext("health", time.monotonic() + HEALTH_SECONDS)
                reported = await service.upstream.reported_status(context)
                # Of a model that is discovered: where the settings contradict it, every request fails.
                await service.upstream.model_codec(context)
        except GatewayError as error:
            problem = error
        except TimeoutError:
            reported = "silent"
        except Exception as fault:  # the other services' answers are not lost with this one's
            log.error("health of %s: internal-error %s", service.settings.name, fault_path(fault))
            problem = InternalError("The service's health could not be asked, through an unexpected fault.")
        cache, golden = client.credentials, service.golden
        if golden is not None and problem is None:
            golden.request()
        return ServiceHealth(
            reported=reported,
            channel=client.channel_state,
            credentials_age=None if cache is None else cache.age,
            vault_problem=None if cache is None else cache.problem,
            problem=problem,
            golden=None if golden is None else golden.status,
        )

    async def rotations(self) -> "Rotations":
        """The rotations of the services that are rotated.

        Raises:
            NotRotated: the settings rotate none.
        """
        if self._rotations is None:
            # In a thread: their imports take a while, and requests must not wait.
            made = await asyncio.get_running_loop().run_in_executor(self._vault.readers, self._make_rotations)
            # Another one may have been made meanwhile.
            self._rotations, surplus = self._rotations or made, made if self._rotations else None
            if surplus is not None:
                surplus.close()
        return self._rotations

    async def operations(self) -> "Operations":
        """The reader of what all instances share."""
        rotations = None if self.settings.rotation is None else await self.rotations()
        if self._operations is None:
            self._operations = await asyncio.to_thread(self._make_operations, rotations)
        return self._operations

    async def flush(self) -> None:
        """Export what was counted, before an instance may end."""
        if self.reporting is not None:
            await asyncio.to_thread(self.reporting.flush, FLUSH_SECONDS)

    async def close(self) -> None:
        for part in (self.reporting, self._operations):
            if part is not None:
                part.close()
        if self._readiness is not None:
            self._readiness.cancel()
        if self._rotations is not None:
            # In a thread: it waits until pending events have been delivered.
            await asyncio.to_thread(self._rotations.close)
        for split in self._splits.values():
            split.close()
        for service in self._services.values():
            await service.close()
        for decoders in self._decoders.values():
            decoders.shutdown()
        self._decoder.close()
        self._vault.close()

    def _compose(self, service: ServiceSettings) -> Service:
        # The heavy imports wait for the first use: a cold start reports its health before it can score.
        from shared.scoring.models import Model  # noqa: PLC0415
        from shared.scoring.scorer import Scorer  # noqa: PLC0415
        from shared.upstream.admission import Admission  # noqa: PLC0415
        from shared.upstream.client import ServiceClient  # noqa: PLC0415
        from shared.upstream.discovery import Discovery  # noqa: PLC0415
        from shared.upstream.service import Upstream  # noqa: PLC0415

        client, codec = ServiceClient(service, self._credentials(service)), _codec(service)
        upstream = Upstream(
            service,
            client,
            codec,
            Admission(service.max_concurrency * len(service.addresses), service.deadline_seconds, service.name),
            Discovery(service, client, codec) if service.is_discovered else None,
        )
        # Threads of its own, started when needed: the images of one service do not queue behind another's.
        decoders = self._decoders[service.name] = DaemonExecutor(os.cpu_count() or 1, f"decode-{service.name}")
        scorer = Scorer(upstream, self.settings.limits, self._decoder, decoders)
        made = Service(upstream, scorer, Model(upstream, scorer, self.settings.limits))
        return self._with_golden(made) if service.golden else made

    def _with_golden(self, service: Service) -> Service:
        from shared.scoring.golden.check import Checker  # noqa: PLC0415 - only for services that have photographs
        from shared.scoring.golden.watch import Golden  # noqa: PLC0415 - as above

        checker = Checker(service.upstream, service.scorer)
        golden = Golden(service.settings, checker)
        service.upstream.listeners.append(golden.answered)
        return service._replace(golden=golden)

    def _make_split(self, split: SplitSettings) -> "Split":
        from shared.traffic.split import Split  # noqa: PLC0415 - most gateways have none

        return Split(split, self._is_ready, self._why_not_ready)

    def _is_ready(self, name: str) -> bool:
        """Whether a member of a split is known to be ready, without a call."""
        service = self._services[name]
        return service.upstream.client.responds and not (service.golden is not None and service.golden.blocks)

    async def _why_not_ready(self, name: str) -> str:
        """Why a member of a split must not get its share of the requests, or get it back; empty where it may.

        The one place for whatever must hold before a share may grow.
        """
        health = await self._ask(self._services[name])
        if health.golden is not None and health.golden.holds_back:
            return f"golden: {health.golden}"
        if health.ready:
            return ""
        return health.reported if health.problem is None else health.problem.slug

    def _make_reporting(self) -> "Reporting | None":
        if not self.settings.telemetry.is_on:
            return None
        from shared.reporting import Reporting, readings  # noqa: PLC0415 - off by default

        upstreams = {name: service.upstream for name, service in self._services.items()}
        return Reporting(
            self.settings.telemetry,
            lambda: readings(upstreams, self._splits, self.memory, self._rotations),
            self.settings.vault,
        )

    def _make_decoder(self) -> "tuple[Memory, Decoder]":
        from shared.scoring.decoding.decoder import Decoder  # noqa: PLC0415 - as above
        from shared.scoring.decoding.memory import Memory, default_budget  # noqa: PLC0415

        limits = self.settings.limits
        memory = Memory(limits.image_memory_bytes or default_budget())
        return memory, Decoder(memory, limits.image_pixels)

    def _credentials(self, service: ServiceSettings) -> "CredentialCache | None":
        from shared.credentials.cache import CredentialCache, CredentialReader  # noqa: PLC0415 - as above

        if service.tls is not Tls.REQUIRED:
            return None
        reader = CredentialReader(
            service,
            self._read_secret,
            self._vault.readers,
            read_identity=_client_certificate,
            read_token=lambda: self._vault.client().token(service.auth_scope),
        )
        vault = self.settings.vault or VaultSettings()
        # A token is renewed before it ends: the library has a new one five minutes before.
        longest = TOKEN_SECONDS if service.auth is Auth.ENTRA else vault.refresh_seconds
        return CredentialCache(reader, refresh_seconds=min(vault.refresh_seconds, longest), service=service.name)

    def _make_rotations(self) -> "Rotations":
        from shared.rotation.scheduler import Rotations  # noqa: PLC0415 - as above

        rotation, vault = self.settings.rotation, self.settings.vault
        if rotation is None or vault is None:
            raise NotRotated("No service of the gateway has a CONTROL_PLANE_NAME.")
        codecs = {name: service.upstream.codec for name, service in self._services.items()}
        return Rotations(self.settings, rotation, vault, self._vault.client(), codecs)

    def _make_operations(self, rotations: "Rotations | None") -> "Operations":
        from shared.operations import Operations  # noqa: PLC0415 - as above

        return Operations(self.settings.services, self._read_secret, rotations)


def _client_certificate(secret: str) -> "ClientCertificate":
    """The client certificate in a secret's value.

    Raises:
        ValueError: it cannot be used, and why.
    """
    from shared.credentials.pins import ClientCertificate  # noqa: PLC0415 - as above
    from shared.rotation.stored import read_certificate  # noqa: PLC0415 - as above

    found = read_certificate(secret)
    if not found.has_own_key:
        raise ValueError("the private key is not the certificate's")
    return ClientCertificate(found.chain_pem, found.key_pem, found.fingerprint, found.leaf.not_valid_after_utc)


def _codec(service: ServiceSettings) -> "Codec":
    """The codec of a service's protocol."""
    if service.protocol is Protocol.OPEN_INFERENCE:
        from shared.upstream.codecs.open_inference import OpenInferenceCodec  # noqa: PLC0415 - as above

        return OpenInferenceCodec(service)
    from shared.upstream.codecs.tensorflow import TensorFlowCodec  # noqa: PLC0415 - as above

    return TensorFlowCodec(service)


_gateways: dict[asyncio.AbstractEventLoop, Gateway] = {}
_preparing: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}


def gateway() -> Gateway:
    """The gateway of the running event loop, made at the first call.

    Raises:
        Misconfigured: the settings cannot be used; each call raises it again.
    """
    loop = asyncio.get_running_loop()
    made = _gateways.get(loop)
    if made is None:
        PRELOAD.stop()
        made = _gateways[loop] = Gateway(settings.load(os.environ))
    return made


def is_made() -> bool:
    """Whether the running event loop has its gateway."""
    return asyncio.get_running_loop() in _gateways


async def prepare() -> None:
    """Make the gateway for a request that scores, where there is none, while Key Vault is read.

    Does nothing where the settings cannot be used: :func:`gateway` then raises why.
    """
    loop = asyncio.get_running_loop()
    task = _preparing.get(loop)
    if task is None:
        task = _preparing[loop] = asyncio.create_task(_prepare(loop))
        task.add_done_callback(_prepared)
    # Shielded: one request that ends does not end it for the others.
    await asyncio.shield(task)


def _prepared(task: asyncio.Task[None]) -> None:
    del _preparing[task.get_loop()]
    if not task.cancelled():
        task.exception()  # retrieved here, since nobody may be waiting


async def _prepare(loop: asyncio.AbstractEventLoop) -> None:
    try:
        config = settings.load(os.environ)
    except GatewayError:
        return
    service, vault = config.services.get(config.default_service), Vault(config.vault)
    await loop.run_in_executor(vault.readers, PRELOAD.stop)
    if service is not None and service.secrets:
        await vault.begin(service.secrets)
    if loop in _gateways:
        vault.close()  # another trigger made it meanwhile
    else:
        _gateways[loop] = Gateway(config, vault=vault)


async def forget() -> None:
    """Close the running event loop's gateway, if there is one; the next call makes another."""
    loop = asyncio.get_running_loop()
    if (preparing := _preparing.get(loop)) is not None:
        preparing.cancel()
    made = _gateways.pop(loop, None)
    if made is not None:
        await made.close()
