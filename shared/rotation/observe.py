"""Observes the state of one service's rotation, and has the next steps decided. It reads, and never writes."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509

from shared.credentials.pins import Pins, fingerprint, is_authority, pem, read_pins, split
from shared.credentials.secrets import Secret, newest_first
from shared.errors import GatewayError, InvalidPin, SecretDisabled, SecretMissing
from shared.rotation import state as persisted
from shared.rotation.decide import Candidate, Memory, ObservedState, Policy, Progress, Step, decide
from shared.rotation.decide_keys import KeyKind, KeyStep, ObservedKeys, StoredKey, decide_keys
from shared.rotation.interfaces import Interfaces, UpdateStatus
from shared.rotation.presented import Handshakes, Presented
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
            state=service.rotation_secret,
            lease=f"{service.rotation_secret}-lease",
            keys={KeyKind.PRIMARY: service.primary_key_secret, KeyKind.SECONDARY: service.secondary_key_secret},
        )


@dataclass(frozen=True)
class PinnedCertificates:
    """The pins in the order of their secret: leaf certificates, which rotations manage, and authorities, which a person
    chose.
    """

    certificates: Sequence[x509.Certificate] = ()
    changed_at: float = 0.0

    @classmethod
    def of(cls, secret: Secret) -> "PinnedCertificates":
        return cls(split(secret.value), secret.created)

    @property
    def leaves(self) -> list[x509.Certificate]:
        return [one for one in self.certificates if not is_authority(one)]

    @property
    def authorities(self) -> list[x509.Certificate]:
        return [one for one in self.certificates if is_authority(one)]

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(map(fingerprint, self.leaves))

    @property
    def text(self) -> str:
        """What the secret contains with these pins: PEM."""
        return "".join(map(pem, self.certificates))

    def roots(self, now: float) -> Pins:
        """What gateways that have read these pins trust.

        Raises:
            InvalidPin: there is none.
        """
        if not self.certificates:
            raise InvalidPin("No certificate is pinned, by which a connection to the service could be trusted.")
        return read_pins(self.text, "pins", _date(now))

    def changed(self, added: x509.Certificate | None = None, dropped: Collection[str] = ()) -> "PinnedCertificates":
        """These pins without some, by their fingerprints, and with one more at the end."""
        kept = [one for one in self.certificates if fingerprint(one) not in dropped]
        return replace(self, certificates=list(dict.fromkeys([*kept, added] if added else kept)))


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
        handshakes = self._interfaces.probe.handshakes()
        served = _served(handshakes, known.memory, desired)
        candidate = None
        if secret is not None:
            refusal = unreadable if desired is None else self._refusal(desired, pinned, served, now)
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
            fallback=self._fallback(known.memory, pinned, now),
            handshake_refused=handshakes.refused,
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
        return PinnedCertificates.of(secret)

    def _refusal(self, desired: Certificate, pinned: PinnedCertificates, served: Presented | None, now: float) -> str:
        """Why the service must not be given the certificate; empty where it may, or has it."""
        refusal = validate(desired, self._requirements, _date(now), served)
        if refusal or (served is not None and served.fingerprint == desired.fingerprint):
            return refusal
        return self._rehearse(desired, pinned, now)

    def _rehearse(self, certificate: Certificate, pinned: PinnedCertificates, now: float) -> str:
        return self._interfaces.probe.rehearse(certificate, pinned.changed(certificate.leaf).roots(now))

    def _fallback(self, memory: Memory, pinned: PinnedCertificates, now: float) -> Candidate | None:
        """What to roll back to, as it is now; validated only where something failed that may need it."""
        good = memory.good
        if good is None or not memory.failed or memory.update is not None:
            return good
        return replace(good, refusal=self._fallback_refusal(good, pinned, now))

    def _fallback_refusal(self, good: Candidate, pinned: PinnedCertificates, now: float) -> str:
        name = self.secrets.certificate
        try:
            certificate = read_certificate(self._interfaces.vault.read(name, good.version).value)
        except SecretDisabled:
            return f"its version {good.version} of secret {name!r} is disabled; enable it, or store another certificate"
        except SecretMissing:
            return f"its version {good.version} of secret {name!r} no longer exists; store another certificate"
        except UnreadableCertificate as error:
            return str(error)
        # Better for a few days than a certificate that does not work at all, and as strong as it was before.
        requirements = replace(self._requirements, least_days=0)
        return validate(certificate, requirements, _date(now)) or self._rehearse(certificate, pinned, now)

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


def _served(handshakes: Handshakes, memory: Memory, desired: Certificate | None) -> Presented | None:
    """The certificate that the endpoint presents; while its addresses differ, one that is not the target's.

    Only when all of them present the target has the endpoint changed.
    """
    target = desired.fingerprint if desired else ""
    if memory.update is not None:
        target = memory.update.target.fingerprint
    others = (one for one in handshakes.presented if one.fingerprint != target)
    return next(others, handshakes.presented[0] if handshakes.presented else None)


def _date(now: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, dt.UTC)
