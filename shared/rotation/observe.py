"""Observes the state of one service's rotation, and has the next steps decided. It reads, and never writes."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from shared.credentials.pins import Roots, fingerprint, is_authority, pem, split
from shared.credentials.secrets import Secret, newest_first
from shared.errors import GatewayError, InvalidPin, SecretDisabled, SecretMissing
from shared.rotation import state as persisted
from shared.rotation.decide import Candidate, Memory, ObservedState, Policy, Progress, Step, decide
from shared.rotation.decide_keys import KeyKind, KeyStep, ObservedKeys, StoredKey, decide_keys
from shared.rotation.interfaces import Interfaces, UpdateStatus
from shared.rotation.presented import Presented
from shared.rotation.state import RotationState
from shared.rotation.stored import read_certificate
from shared.rotation.validate import Certificate, Requirements, UnreadableCertificate, validate
from shared.settings import RotationSettings, ServiceSettings
from shared.telemetry import log

# What a read of Key Vault may take beyond the moment at which it is due, in seconds: one that hangs until it fails, the
# pause after it, and one that succeeds. Where gateways read more often than usual, that many reads.
_READING, _READS = 15.0, 3
# Key Vault's times are in whole seconds, rounded down.
_ROUNDED = 1.0


@dataclass(frozen=True)
class SecretNames:
    """The names of a service's secrets in Key Vault."""

    certificate: str
    pins: str
    state: str
    lease: str
    keys: Mapping[KeyKind, str]

    @classmethod
    def of(cls, service: ServiceSettings) -> "SecretNames":
        return cls(
            certificate=service.certificate_secret,
            pins=service.pins_secret,
            state=f"{service.name}-rotation",
            lease=f"{service.name}-rotation-lease",
            keys={KeyKind.PRIMARY: service.primary_key_secret, KeyKind.SECONDARY: service.secondary_key_secret},
        )


@dataclass(frozen=True)
class PinnedCertificates:
    """The pins: leaf certificates, which rotations manage, and authorities, which a person chose."""

    leaves: Sequence[x509.Certificate] = ()
    authorities: Sequence[x509.Certificate] = ()
    changed_at: float = 0.0

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(map(fingerprint, self.leaves))

    @property
    def roots(self) -> Roots:
        """All of them; they are from Key Vault.

        Raises:
            InvalidPin: there is none.
        """
        if not self.leaves and not self.authorities:
            raise InvalidPin("No certificate is pinned, by which a connection to the service could be trusted.")
        return Roots("".join(map(pem, (*self.leaves, *self.authorities))).encode())


@dataclass(frozen=True)
class Keys:
    """The keys as the service and as Key Vault have them, and the step that follows."""

    current: Mapping[KeyKind, str] = field(repr=False)
    stored: Mapping[KeyKind, Secret]
    step: KeyStep

    @property
    def newest_first(self) -> list[str]:
        """The values in Key Vault, in the order in which gateways try them."""
        return [secret.value for secret in newest_first(self.stored.get(kind) for kind in KeyKind)]


@dataclass(frozen=True)
class Observation:
    """What was observed at one moment, and what follows from it.

    ``keys`` is None where the control plane could not be asked, and ``problem`` is then the cause. ``desired`` is None
    where no certificate can be read; ``state.desired`` has the reason.
    """

    persisted: RotationState
    state: ObservedState
    step: Step
    desired: Certificate | None
    served: Presented | None
    pinned: PinnedCertificates
    keys: Keys | None = None
    problem: GatewayError | None = None


class Observer:
    """Observes one service."""

    # _parsed  the version of the certificate's secret that was read last, and the result

    def __init__(
        self, service: ServiceSettings, settings: RotationSettings, refresh_seconds: float, interfaces: Interfaces
    ) -> None:
        self.secrets = SecretNames.of(service)
        self._parsed: tuple[str, tuple[Certificate | None, str]] = ("", (None, ""))
        self._service = service
        self._interfaces = interfaces
        self._requirements = Requirements(
            service.certificate_names, settings.least_valid_days, settings.allow_self_signed
        )
        self._propagation = refresh_seconds + min(_READING, _READS * refresh_seconds) + _ROUNDED
        self._policy = Policy(
            propagation=self._propagation,
            operation=settings.update_seconds,
            settling=settings.settling_seconds,
            grace=settings.grace_seconds,
            retry=settings.retry_seconds,
        )

    def observe(self) -> Observation:
        """Observe everything, and decide.

        Raises:
            GatewayError: Key Vault cannot be read; the cause.
        """
        known = self._persisted()
        secret = self._certificate()
        pinned = self._pinned()
        now = self._interfaces.clock()
        desired, unreadable = self._parse(secret)
        served = self._served(known.memory, desired)
        candidate = None
        if secret is not None:
            refusal = unreadable if desired is None else validate(desired, self._requirements, _date(now), served)
            candidate = Candidate(secret.version, "" if desired is None else desired.fingerprint, refusal)
        update = self._update_status(known.memory)
        keys, problem = self._keys(known, now)
        state = ObservedState(
            now=now,
            desired=candidate,
            served=None if served is None else served.fingerprint,
            pins=pinned.fingerprints,
            pins_changed_at=pinned.changed_at,
            progress=update.progress,
            message=update.message,
            memory=known.memory,
            has_authorities=bool(pinned.authorities),
        )
        return Observation(known, state, decide(state, self._policy), desired, served, pinned, keys, problem)

    def _persisted(self) -> RotationState:
        try:
            return persisted.parse(self._interfaces.vault.read(self.secrets.state).value)
        except (SecretMissing, SecretDisabled):
            return RotationState()
        except ValueError:
            log.warning(
                "rotation of %s: secret %s cannot be read, and is replaced", self._service.name, self.secrets.state
            )
            return RotationState()

    def _certificate(self) -> Secret | None:
        try:
            return self._interfaces.vault.read_enabled(self.secrets.certificate)
        except (SecretMissing, SecretDisabled):
            return None

    def _parse(self, secret: Secret | None) -> tuple[Certificate | None, str]:
        """The certificate in a secret, or why it cannot be read; a version is read once."""
        if secret is None:
            return None, ""
        version, parsed = self._parsed
        if version != secret.version:
            try:
                parsed = read_certificate(secret.value), ""
            except UnreadableCertificate as error:
                parsed = None, str(error)
            self._parsed = secret.version, parsed
        return parsed

    def _pinned(self) -> PinnedCertificates:
        secret = self._optional(self.secrets.pins)
        if secret is None:
            return PinnedCertificates()
        found = split(secret.value)
        authorities = [one for one in found if is_authority(one)]
        return PinnedCertificates([one for one in found if one not in authorities], authorities, secret.created)

    def _served(self, memory: Memory, desired: Certificate | None) -> Presented | None:
        """The certificate that the endpoint presents; while its addresses differ, one that is not the target's.

        Only when all of them present the target has the endpoint changed.
        """
        presented = self._interfaces.probe.presented()
        target = desired.fingerprint if desired else ""
        if memory.update is not None:
            target = memory.update.target.fingerprint
        others = (one for one in presented if one.fingerprint != target)
        return next(others, presented[0] if presented else None)

    def _update_status(self, memory: Memory) -> UpdateStatus:
        update = memory.update
        if update is None:
            return UpdateStatus(Progress.UNKNOWN)
        if update.ended_at is not None:
            return UpdateStatus(Progress.SUCCEEDED)
        try:
            return self._interfaces.updates.progress(update.operation)
        except GatewayError as error:
            # Until the control plane reports otherwise, a started update counts as running.
            return UpdateStatus(Progress.RUNNING, update.operation, error.detail)

    def _keys(self, known: RotationState, now: float) -> tuple[Keys | None, GatewayError | None]:
        try:
            current = self._interfaces.updates.keys()
        except GatewayError as error:
            return None, error
        secrets = {kind: self._optional(self.secrets.keys[kind]) for kind in KeyKind}
        stored = {kind: secret for kind, secret in secrets.items() if secret is not None}
        observed = {
            kind: StoredKey(secret.version, secret.created, is_current=secret.value == current[kind])
            for kind, secret in stored.items()
        }
        return Keys(current, stored, decide_keys(ObservedKeys(now, observed, known.keys), self._propagation)), None

    def _optional(self, name: str) -> Secret | None:
        try:
            return self._interfaces.vault.read(name)
        except (SecretMissing, SecretDisabled):
            return None


def _date(now: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, dt.UTC)
