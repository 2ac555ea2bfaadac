"""Looks at the world of one service's rotation, and has the next steps decided. It reads, and never writes."""

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from shared.errors import GatewayError, SecretDisabled, SecretMissing
from shared.settings import RotationSettings, ServiceSettings
from shared.telemetry import log
from shared.trust import notes
from shared.trust.certificates import fingerprint, is_authority, split
from shared.trust.judge import Certificate, Demands, UnreadableCertificate, judge, read
from shared.trust.key_rotation import HeldKey, KeyStep, KeyWorld, Kind, decide_keys
from shared.trust.notes import Note
from shared.trust.parties import Parties, Told
from shared.trust.rotation import Candidate, Memory, Policy, Progress, Step, World, decide
from shared.trust.secrets import Secret

# What a read of Key Vault may take beyond the moment at which it is due, in seconds: one that hangs until it fails, the
# pause after it, and one that succeeds. Where gateways read more often than usual, that many reads.
_READING, _READS = 15.0, 3
# Key Vault tells times in whole seconds, rounded down.
_ROUNDED = 1.0


@dataclass(frozen=True)
class Names:
    """The names of a service's secrets in Key Vault."""

    certificate: str
    pins: str
    note: str
    lease: str
    keys: Mapping[Kind, str]

    @classmethod
    def of(cls, service: ServiceSettings) -> "Names":
        return cls(
            certificate=service.certificate_secret,
            pins=service.pins_secret,
            note=f"{service.name}-rotation",
            lease=f"{service.name}-rotation-lease",
            keys={Kind.PRIMARY: service.primary_key_secret, Kind.SECONDARY: service.secondary_key_secret},
        )


@dataclass(frozen=True)
class Pinned:
    """What is pinned: leaf certificates, which rotations manage, and authorities, which a person chose."""

    leaves: Sequence[x509.Certificate] = ()
    authorities: Sequence[x509.Certificate] = ()
    changed_at: float = 0.0

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(map(fingerprint, self.leaves))


@dataclass(frozen=True)
class Keys:
    """The keys as the service and as Key Vault have them, and the step that follows."""

    current: Mapping[Kind, str] = field(repr=False)
    held: Mapping[Kind, Secret]
    step: KeyStep

    @property
    def newest_first(self) -> list[str]:
        """The values in Key Vault, in the order in which gateways try them."""
        kinds = sorted(self.held, key=lambda kind: (-self.held[kind].created, kind is Kind.SECONDARY))
        return [self.held[kind].value for kind in kinds]


@dataclass(frozen=True)
class View:
    """What was seen at one moment, and what follows from it.

    ``keys`` is None where the control plane could not be asked, and ``problem`` then says why. ``desired`` is None
    where there is no certificate that can be read; the world's tells more.
    """

    note: Note
    world: World
    step: Step
    desired: Certificate | None
    served: x509.Certificate | None
    pinned: Pinned
    keys: Keys | None = None
    problem: GatewayError | None = None


class Observer:
    """Observes one service."""

    def __init__(self, service: ServiceSettings, settings: RotationSettings, refresh_seconds: float, parties: Parties):
        self.names = Names.of(service)
        self._service = service
        self._parties = parties
        self._demands = Demands(service.certificate_names, settings.least_valid_days, settings.allow_self_signed)
        self._propagation = refresh_seconds + min(_READING, _READS * refresh_seconds) + _ROUNDED
        self._policy = Policy(
            propagation=self._propagation,
            operation=settings.update_seconds,
            settling=settings.settling_seconds,
            grace=settings.grace_seconds,
            retry=settings.retry_seconds,
        )

    def look(self) -> View:
        """See everything, and decide.

        Raises:
            GatewayError: Key Vault cannot be read; the cause.
        """
        note = self._note()
        secret = self._certificate()
        pinned = self._pinned()
        now = self._parties.clock()
        desired, unreadable = _read(secret)
        served = self._served(note.memory, desired)
        candidate = None
        if secret is not None:
            refusal = unreadable if desired is None else judge(desired, self._demands, _date(now), served)
            candidate = Candidate(secret.version, "" if desired is None else desired.fingerprint, refusal)
        told = self._told(note.memory)
        keys, problem = self._keys(note, now)
        world = World(
            now=now,
            desired=candidate,
            served=None if served is None else fingerprint(served),
            pins=pinned.fingerprints,
            pins_changed_at=pinned.changed_at,
            progress=told.progress,
            message=told.message,
            memory=note.memory,
            has_authorities=bool(pinned.authorities),
        )
        return View(note, world, decide(world, self._policy), desired, served, pinned, keys, problem)

    def _note(self) -> Note:
        try:
            return notes.read(self._parties.vault.read(self.names.note).value)
        except (SecretMissing, SecretDisabled):
            return Note()
        except ValueError:
            log.warning("rotation of %s: secret %s cannot be read, and is made anew", self._service, self.names.note)
            return Note()

    def _certificate(self) -> Secret | None:
        try:
            return self._parties.vault.read_enabled(self.names.certificate)
        except (SecretMissing, SecretDisabled):
            return None

    def _pinned(self) -> Pinned:
        try:
            secret = self._parties.vault.read(self.names.pins)
        except (SecretMissing, SecretDisabled):
            return Pinned()
        found = split(secret.value)
        authorities = [one for one in found if is_authority(one)]
        return Pinned([one for one in found if one not in authorities], authorities, secret.created)

    def _served(self, memory: Memory, desired: Certificate | None) -> x509.Certificate | None:
        """What the endpoint presents; while its addresses differ, what is not wanted: only all of them are a change."""
        presented = [x509.load_der_x509_certificate(one) for one in self._parties.endpoint.presented()]
        wanted = desired.fingerprint if desired else ""
        if memory.update is not None:
            wanted = memory.update.target.fingerprint
        unwanted = (one for one in presented if fingerprint(one) != wanted)
        return next(unwanted, presented[0] if presented else None)

    def _told(self, memory: Memory) -> Told:
        update = memory.update
        if update is None:
            return Told(Progress.UNKNOWN)
        if update.ended_at is not None:
            return Told(Progress.SUCCEEDED)
        try:
            return self._parties.deployments.progress(update.operation)
        except GatewayError as error:
            # Until the control plane says otherwise, what was begun goes on.
            return Told(Progress.RUNNING, update.operation, error.detail)

    def _keys(self, note: Note, now: float) -> tuple[Keys | None, GatewayError | None]:
        try:
            current = self._parties.deployments.keys()
        except GatewayError as error:
            return None, error
        held = {kind: secret for kind in Kind if (secret := self._key(kind)) is not None}
        known = {
            kind: HeldKey(secret.version, secret.created, is_current=secret.value == current[kind])
            for kind, secret in held.items()
        }
        return Keys(current, held, decide_keys(KeyWorld(now, known, note.keys), self._propagation)), None

    def _key(self, kind: Kind) -> Secret | None:
        try:
            return self._parties.vault.read(self.names.keys[kind])
        except (SecretMissing, SecretDisabled):
            return None


def _read(secret: Secret | None) -> tuple[Certificate | None, str]:
    """The certificate in a secret, or what is wrong with it."""
    if secret is None:
        return None, ""
    try:
        return read(content(secret)), ""
    except UnreadableCertificate as error:
        return None, str(error)


def content(secret: Secret) -> bytes:
    """A certificate's secret as bytes: PEM, or PKCS#12, which Key Vault's certificates come as in base64."""
    value = secret.value
    return value.encode() if "-----BEGIN" in value else _from_base64(value)


def _from_base64(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return value.encode()


def _date(now: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, dt.UTC)
