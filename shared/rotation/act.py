"""Takes the decided steps of one service's rotation, one at a time.

Every step is safe to lose and safe to repeat: what must not be forgotten is persisted before anything is changed, and
whether a step succeeded is observed, not remembered.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from shared.credentials.pins import Roots, fingerprint
from shared.credentials.secrets import Secret, usable_keys
from shared.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    GatewayError,
    HandshakeFailed,
    IdentityUnavailable,
    KeysRefused,
    SecretDisabled,
    SecretMissing,
)
from shared.rotation import events
from shared.rotation import state as persisted
from shared.rotation.decide import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Memory,
    Progress,
    Reason,
    Send,
    Settle,
    Trouble,
    Update,
    Verify,
    failed,
)
from shared.rotation.decide_keys import Finish, KeyKind, Regenerate, Store
from shared.rotation.events import Event
from shared.rotation.interfaces import Interfaces
from shared.rotation.observe import Keys, Observation, SecretNames
from shared.rotation.pins import PinChange, write_pins
from shared.rotation.state import Entry, RotationState
from shared.rotation.stored import read_certificate
from shared.rotation.validate import Certificate
from shared.upstream.causes import is_outage, is_trust_failure

# Seconds for which a verification may fail to reach a service that has just been updated, and between two attempts.
_REACH_SECONDS, _REACH_PAUSE = 5.0, 0.5
# How many versions are searched for the certificate that is served.
_VERSIONS = 10

_CONFLICT = 409


class Actions:
    """The steps of one service's rotation, as :mod:`shared.rotation.decide` and ``decide_keys`` name them."""

    # _may_write  raises LeaseHeld once another run may be acting; called before each change

    def __init__(
        self, service: str, secrets: SecretNames, interfaces: Interfaces, may_write: Callable[[], None]
    ) -> None:
        self._service = service
        self._secrets = secrets
        self._interfaces = interfaces
        self._may_write = may_write

    def take(self, observed: Observation) -> None:
        """Take the certificate's step."""
        match observed.step:
            case AddPin():
                self._add_pin(observed, observed.step)
            case Send(target, is_rollback):
                self._send(observed, target, is_rollback=is_rollback)
            case Settle():
                self._settle(observed)
            case Verify(target):
                self._verify(observed, target)
            case Fail():
                self._fail(observed, observed.step)
            case DropPins(keep, dropped):
                self._drop_pins(observed, keep, dropped)

    def take_for_keys(self, observed: Observation, keys: Keys) -> None:
        """Take the keys' step."""
        match keys.step:
            case Store(kind):
                self._store_key(kind, keys.current[kind])
                detail = f"The service's {kind} key was changed elsewhere, and is now in Key Vault."
                self.commit(observed.persisted, events.KEY_STORED, detail, key=kind)
            case Regenerate(kind):
                self._regenerate(observed, keys, kind)
            case Finish():
                self.commit(replace(observed.persisted, keys=None), events.KEYS_ROTATED, "Both keys have been rotated.")
            case _:
                pass

    def request(self, observed: Observation, *, rotate_keys: bool, retry: bool) -> None:
        """Persist what was requested: to rotate the keys, to retry what failed."""
        state = observed.persisted
        if retry and state.memory.failed:
            state = replace(state, memory=replace(state.memory, failed={}))
            self._write(state)
        if rotate_keys and state.keys is None:
            if observed.keys is None:
                raise observed.problem or ControlPlaneUnreachable("The control plane returned no keys.")
            versions = {kind: secret.version for kind, secret in observed.keys.stored.items()}
            self.commit(replace(state, keys=versions), events.KEYS_REQUESTED, "The rotation of both keys starts.")

    def commit(
        self, state: RotationState, kind: str, detail: str, about: str = "", **data: str | float
    ) -> RotationState:
        """Persist the state, with this event in its history, and announce the event."""
        at = self._interfaces.clock()
        state = state.with_entry(Entry(at, kind, detail))
        self._write(state)
        subject = {"fingerprint": about} if about else {}
        self._interfaces.announce(Event(kind, self._service, at, detail, {**subject, **data}))
        return state

    # The steps of a certificate's rotation.

    def _add_pin(self, observed: Observation, step: AddPin) -> None:
        leaf = self._certificate(observed, step.target).leaf
        dropped = self._write_pins(PinChange(leaf, step.dropped, step.spare))
        memory = observed.persisted.memory
        retired = {one: at for one, at in memory.retired.items() if one not in dropped}
        others = _count(len(observed.pinned.fingerprints - dropped - {step.target.fingerprint}), "other")
        went = f"; {_count(len(dropped), 'old pin')} dropped" if dropped else ""
        detail = f"The certificate {_short(step.target)} is pinned beside {others}{went}."
        memory = replace(memory, offered=step.target.fingerprint, retired=retired)
        self._remember(observed, memory, events.PIN_ADDED, detail, step.target.fingerprint)

    def _send(self, observed: Observation, target: Candidate, *, is_rollback: bool) -> None:
        certificate = self._certificate(observed, target)
        memory = observed.persisted.memory
        if not is_rollback:
            memory = replace(memory, good=self._good(observed))
        update = Update(target, self._interfaces.clock(), is_rollback=is_rollback)
        # Persisted before it is sent: the next run must know that an update may be in progress.
        state = self._remember(
            observed,
            replace(memory, update=update),
            events.UPDATE_SENT,
            f"The service is {'given back' if is_rollback else 'given'} the certificate {_short(target)}.",
            target.fingerprint,
            rollback=is_rollback,
        )
        try:
            self._may_write()
            status = self._interfaces.updates.update(certificate)
        except ControlPlaneRefused as error:
            reason = Reason.UPDATE_CONFLICT if error.http_status == _CONFLICT else Reason.UPDATE_FAILED
            self._fail(replace(observed, persisted=state), failed(observed.state, update, reason, error.detail))
            return
        except (ControlPlaneUnreachable, IdentityUnavailable) as error:
            # It may have arrived: the next observations show.
            self._write(replace(state, memory=replace(memory, update=replace(update, trouble=error.detail))))
            return
        ended_at = self._interfaces.clock() if status.progress is Progress.SUCCEEDED else None
        if status.operation or ended_at:
            update = replace(update, operation=status.operation, ended_at=ended_at)
            self._write(replace(state, memory=replace(memory, update=update)))

    def _good(self, observed: Observation) -> Candidate | None:
        """What to roll back to: the last verified certificate, or the one served now, if Key Vault has it."""
        good, served = observed.persisted.memory.good, observed.state.served
        if good is not None or served is None:
            return good
        for version in self._interfaces.vault.versions(self._secrets.certificate)[:_VERSIONS]:
            if version.enabled:
                candidate = Candidate(version.id, served)
                try:
                    if self._read(candidate).fingerprint == served:
                        return candidate
                except (GatewayError, ValueError):
                    continue  # another certificate, or none
        return None

    def _settle(self, observed: Observation) -> None:
        memory = observed.persisted.memory
        if memory.update is not None:
            update = replace(memory.update, ended_at=self._interfaces.clock())
            detail = "The update has ended; its certificate should appear."
            self._remember(observed, replace(memory, update=update), events.UPDATE_ENDED, detail)

    def _verify(self, observed: Observation, target: Candidate) -> None:
        if observed.keys is not None and isinstance(observed.keys.step, Store):
            # An update may change keys: they must be known before the proof.
            self.take_for_keys(observed, observed.keys)
            return
        update = observed.persisted.memory.update
        try:
            for roots in self._proving_roots(observed, target):
                self._prove(observed.keys, roots)
        except GatewayError as error:
            message = f"{error.title}. {error.detail}"
            if not self._is_verdict(error, target):
                self._note_trouble(observed, target, message)
                raise
            started = update or Update(target, observed.state.now)
            self._fail(observed, failed(observed.state, started, Reason.VERIFICATION_FAILED, message))
            return
        self._remember(observed, self._verified(observed, target), *_outcome(update, target), target.fingerprint)

    def _proving_roots(self, observed: Observation, target: Candidate) -> list[Roots]:
        """What a connection is verified with: the certificate alone, to prove that it is served; and what gateways use.

        A certificate that Key Vault no longer returns is served all the same: then the pins have to do.
        """
        pins = observed.pinned.roots(observed.state.now)
        try:
            alone = self._certificate(observed, target).roots
        except (SecretDisabled, SecretMissing, ValueError):
            return [pins]
        return [alone] if alone.bundle == pins.bundle else [alone, pins]

    def _is_verdict(self, error: GatewayError, target: Candidate) -> bool:
        """Whether a failure says something about the certificate: its trust failed, and it is what is presented."""
        if not (is_trust_failure(error) or isinstance(error, HandshakeFailed)):
            return False
        presented = self._interfaces.probe.handshakes().presented
        return bool(presented) and all(one.fingerprint == target.fingerprint for one in presented)

    def _note_trouble(self, observed: Observation, target: Candidate, message: str) -> None:
        """Persist since when the verification is prevented; once, since runs go on trying."""
        memory = observed.persisted.memory
        if memory.trouble is None or memory.trouble.fingerprint != target.fingerprint:
            trouble = Trouble(target.fingerprint, message, self._interfaces.clock())
            self._write(replace(observed.persisted, memory=replace(memory, trouble=trouble)))

    def _verified(self, observed: Observation, target: Candidate) -> Memory:
        memory = observed.persisted.memory
        others = {name: failure for name, failure in memory.failed.items() if name != target.fingerprint}
        now = self._interfaces.clock()
        replaced = observed.state.pins - {target.fingerprint}
        return replace(
            memory,
            good=replace(target, refusal=""),
            verified_at=now,
            update=None,
            failed=others,
            trouble=None,
            # The grace time of a pin starts once, however often its successor is replaced.
            retired={one: memory.retired.get(one, now) for one in replaced},
        )

    def _fail(self, observed: Observation, step: Fail) -> None:
        memory = observed.persisted.memory
        failures = {**memory.failed, step.target.fingerprint: step.failure}
        kind, what = _FAILURES.get(step.failure.reason, (events.UPDATE_FAILED, "The update to"))
        if step.failure.reason is Reason.ROLLBACK_FAILED and observed.state.served == step.target.fingerprint:
            kind, what = _OF_VERIFICATION
        self._remember(
            observed,
            replace(memory, update=None, failed=failures, trouble=None),
            kind,
            f"{what} {_short(step.target)} failed: {step.failure.message}",
            step.target.fingerprint,
            reason=step.failure.reason,
        )

    def _drop_pins(self, observed: Observation, keep: Candidate, dropped: Collection[str]) -> None:
        kept = next(leaf for leaf in observed.pinned.leaves if fingerprint(leaf) == keep.fingerprint)
        self._write_pins(PinChange(kept, dropped))
        left = len(observed.pinned.fingerprints.difference(dropped, {keep.fingerprint}))
        others = "the only pin" if not left else f"pinned beside {_count(left, 'other')}"
        detail = f"The certificate {_short(keep)} is {others}; {_count(len(dropped), 'old pin')} dropped."
        memory = observed.persisted.memory
        retired = {one: at for one, at in memory.retired.items() if one not in dropped}
        self._remember(observed, replace(memory, retired=retired), events.PINS_DROPPED, detail, keep.fingerprint)

    # The proof that a certificate and a key work.

    def _regenerate(self, observed: Observation, keys: Keys, kind: KeyKind) -> None:
        # Gateways that lose this key must be able to use the other one, over a connection as they make it: what the
        # service presents now may be anybody's certificate.
        self._prove_key(keys.stored[kind.other].value, observed.pinned.roots(observed.state.now))
        self._may_write()
        value = self._interfaces.updates.regenerate(kind)
        # Stored also if another run acts by now: that one would store the same.
        self._interfaces.vault.write(self._secrets.keys[kind], value)
        detail = f"The {kind} key was regenerated, and is in Key Vault."
        self.commit(observed.persisted, events.KEY_REGENERATED, detail, key=kind)

    def _prove(self, keys: Keys | None, roots: Roots) -> None:
        """Score something over a connection that these roots verify, with the keys in the order gateways try them."""
        refusal: GatewayError | None = None
        for key in keys.newest_first if keys else self._stored_keys():
            try:
                self._prove_key(key, roots)
            except KeysRefused as error:
                refusal = error
            else:
                return
        raise refusal or KeysRefused("Key Vault has no key of the service.")

    def _stored_keys(self) -> list[str]:
        found: dict[str, Secret] = {}
        for kind in KeyKind:
            name = self._secrets.keys[kind]
            try:
                found[name] = self._interfaces.vault.read(name)
            except (SecretMissing, SecretDisabled):
                continue  # the other one may do
        return usable_keys(found)[0]

    def _prove_key(self, key: str, roots: Roots) -> None:
        ends = self._interfaces.clock() + _REACH_SECONDS
        while True:
            try:
                return self._interfaces.probe.score(roots, key)
            except GatewayError as error:
                # A service that was just updated may be restarting.
                if not is_outage(error) or self._interfaces.clock() >= ends:
                    raise
            self._interfaces.sleep(_REACH_PAUSE)

    # Parts of the above.

    def _certificate(self, observed: Observation, target: Candidate) -> Certificate:
        if observed.desired is not None and observed.desired.fingerprint == target.fingerprint:
            return observed.desired
        return self._read(target)

    def _read(self, target: Candidate) -> Certificate:
        return read_certificate(self._interfaces.vault.read(self._secrets.certificate, target.version).value)

    def _write_pins(self, change: PinChange) -> frozenset[str]:
        self._may_write()
        return write_pins(self._interfaces.vault, self._secrets.pins, change)

    def _store_key(self, kind: KeyKind, value: str) -> None:
        self._may_write()
        self._interfaces.vault.write(self._secrets.keys[kind], value)

    def _remember(
        self, observed: Observation, memory: Memory, kind: str, detail: str, about: str = "", **data: str | float
    ) -> RotationState:
        return self.commit(replace(observed.persisted, memory=memory), kind, detail, about, **data)

    def _write(self, state: RotationState) -> None:
        self._may_write()
        self._interfaces.vault.write(self._secrets.state, persisted.serialize(state), content_type="application/json")


_OF_VERIFICATION = events.VERIFICATION_FAILED, "The verification of"
_FAILURES = {
    Reason.VERIFICATION_FAILED: _OF_VERIFICATION,
    Reason.UPDATE_LOST: (events.UPDATE_LOST, "The update to"),
}


def _outcome(update: Update | None, target: Candidate) -> tuple[str, str]:
    """The event of a certificate that was verified."""
    if update is None:
        return events.VERIFIED, f"The certificate {_short(target)} is served, and scores."
    if update.is_rollback:
        return events.ROLLED_BACK, f"The service is back at the certificate {_short(target)}, and scores."
    return events.ROTATED, f"The service serves the certificate {_short(target)}, and scores."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _short(target: Candidate) -> str:
    return target.fingerprint[:16]
