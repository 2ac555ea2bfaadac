"""The acting part of a rotation: does the steps that are decided, one at a time, for one service.

Every step is safe to lose and safe to repeat: what must be remembered is written before the world is changed, and what
was done is seen by looking at the world again, not by having done it. A tick that has something to do holds the
service's lease (see :mod:`shared.trust.lease`), and looks again once it has it.
"""

from dataclasses import replace

from cryptography import x509

from shared.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    DeadlineExceeded,
    GatewayError,
    KeysRefused,
    ServiceBusy,
    ServiceUnreachable,
)
from shared.settings import RotationSettings, ServiceSettings
from shared.trust import events, lease, notes
from shared.trust.certificates import fingerprint, pem
from shared.trust.events import Event
from shared.trust.judge import Certificate, read
from shared.trust.key_rotation import Finish, KeysSettled, KeyWait, Kind, Regenerate, Store
from shared.trust.notes import Entry, Note
from shared.trust.observer import Keys, Observer, View, content
from shared.trust.parties import Parties
from shared.trust.rotation import (
    AddPin,
    Candidate,
    DropPins,
    Fail,
    Forget,
    Memory,
    Nothing,
    Progress,
    Reason,
    Send,
    Settle,
    Stop,
    Update,
    Verify,
    Wait,
    failed,
)

PEM = "application/x-pem-file"

# Between two looks at an update under way, in seconds; doubled each time.
_POLL_FIRST, _POLL_LAST = 0.25, 3.0
# How long a verification may take to reach a service that has just been updated, in seconds, and between two tries.
_REACH_SECONDS, _REACH_PAUSE = 5.0, 0.5
# How many versions are looked through for the certificate that is served.
_VERSIONS = 10

_DAY = 86_400.0
_WARNINGS = (0, 1, 3, 7, 14, 30, 60, 90)

# What says nothing about a certificate: that the service could not be asked.
_INCONCLUSIVE = (ServiceUnreachable, DeadlineExceeded, ServiceBusy)


class Rotator:
    """Rotates one service's certificate and keys."""

    def __init__(
        self, service: ServiceSettings, settings: RotationSettings, refresh_seconds: float, parties: Parties
    ) -> None:
        self.service = service
        self._settings = settings
        self._parties = parties
        self._observer = Observer(service, settings, refresh_seconds, parties)
        self._names = self._observer.names

    def look(self) -> View:
        """What is, and what would be done next; nothing is changed.

        Raises:
            GatewayError: Key Vault cannot be read; the cause.
        """
        return self._observer.look()

    def tick(self, seconds: float, *, rotate_keys: bool = False, retry: bool = False) -> View:
        """Take the steps that can be taken now, in about so many seconds, and return the world after them.

        Args:
            seconds: no further step is begun after this time.
            rotate_keys: begin a rotation of both keys, unless one is under way.
            retry: forget what failed, so that it is tried again.

        Raises:
            Busy: another run is at work.
            GatewayError: a step could not be done; the cause. The next tick goes on from there.
        """
        clock = self._parties.clock
        ends = clock() + seconds
        view = self.look()
        rotate_keys = rotate_keys or self._keys_are_old(view)
        if not (rotate_keys or retry or self._has_work(view)):
            return view
        name, length = self._names.lease, self._settings.lease_seconds
        with lease.held(self._parties.vault, name, length, clock=clock, sleep=self._parties.sleep) as held:
            # The second half of the lease is left for the step that is under way when the first one ends.
            ends = min(ends, held.until - length / 2)
            if retry or rotate_keys:
                self._request(self.look(), rotate_keys=rotate_keys, retry=retry)
            pause = _POLL_FIRST
            while True:
                view = self.look()
                if self._advance(view):
                    pause = _POLL_FIRST
                elif not isinstance(view.step, Wait) or view.world.memory.update is None or clock() + pause >= ends:
                    return view
                else:
                    self._parties.sleep(pause)
                    pause = min(2 * pause, _POLL_LAST)
                if clock() >= ends:
                    return self.look()

    # Deciding what there is to do.

    def _has_work(self, view: View) -> bool:
        return (
            not isinstance(view.step, Nothing | Wait | Stop)
            or self._key_step_is_due(view)
            or _stopped(view) != view.note.stopped
            or self._warning(view) is not None
        )

    def _keys_are_old(self, view: View) -> bool:
        if not self._settings.key_days or view.keys is None or view.note.keys is not None:
            return False
        oldest = min((secret.created for secret in view.keys.held.values()), default=view.world.now)
        return view.world.now - oldest > self._settings.key_days * _DAY

    def _key_step_is_due(self, view: View) -> bool:
        if view.keys is None or isinstance(view.keys.step, KeysSettled | KeyWait):
            return False
        # A key is not regenerated while an update may do something to the keys, too.
        return not (isinstance(view.keys.step, Regenerate) and view.world.memory.update is not None)

    def _advance(self, view: View) -> bool:
        """Take one step; False where there is none to take."""
        if self._announce_state(view):
            return True
        if not isinstance(view.step, Nothing | Wait | Stop):
            self._act(view)
            return True
        if view.keys is not None and self._key_step_is_due(view):
            self._act_on_keys(view, view.keys)
            return True
        return False

    def _announce_state(self, view: View) -> bool:
        """Say once that a rotation has stopped, or goes on again, or that a certificate is about to expire."""
        stopped = _stopped(view)
        if stopped != view.note.stopped:
            kind = events.STOPPED if stopped else events.RESUMED
            what = f"The rotation has stopped: {stopped.rstrip('.')}." if stopped else "The rotation goes on again."
            self._commit(replace(view.note, stopped=stopped), kind, what)
            return True
        warning = self._warning(view)
        if warning is not None and view.served is not None:
            days, left = warning
            ends = f"{view.served.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            what = f"The certificate that is served {'expires' if left > 0 else 'expired'} on {ends}."
            note = replace(view.note, warned=(fingerprint(view.served), days))
            self._commit(note, events.EXPIRING, what, fingerprint(view.served), days=round(left, 2))
            return True
        return False

    def _warning(self, view: View) -> tuple[int, float] | None:
        """The number of days to warn of now, and those that are really left; None where that was done."""
        if view.served is None:
            return None
        left = (view.served.not_valid_after_utc.timestamp() - view.world.now) / _DAY
        within = [days for days in (*_WARNINGS, self._settings.warn_days) if left <= days <= self._settings.warn_days]
        if not within:
            return None
        warned, days = view.note.warned or ("", 0)
        is_new = warned != fingerprint(view.served) or min(within) < days
        return (min(within), left) if is_new else None

    # The steps of a certificate's rotation.

    def _act(self, view: View) -> None:
        match view.step:
            case AddPin(target):
                self._add_pin(view, target)
            case Send(target, is_rollback):
                self._send(view, target, is_rollback=is_rollback)
            case Settle():
                self._settle(view)
            case Verify(target):
                self._verify(view, target)
            case Fail():
                self._fail(view, view.step)
            case Forget():
                what = "Nothing is known of the update, and nothing came of it: it is sent again."
                self._remember(view, replace(view.note.memory, update=None), events.UPDATE_LOST, what)
            case DropPins(keep):
                self._drop_pins(view, keep)

    def _add_pin(self, view: View, target: Candidate) -> None:
        leaf = self._certificate(view, target).leaf
        self._write_pins([*view.pinned.authorities, *view.pinned.leaves, leaf])
        what = f"The certificate {_short(target)} is pinned beside {_count(len(view.pinned.leaves), 'other')}."
        self._commit(view.note, events.PIN_ADDED, what, target.fingerprint)

    def _send(self, view: View, target: Candidate, *, is_rollback: bool) -> None:
        certificate = self._certificate(view, target)
        memory = view.note.memory
        if not is_rollback:
            memory = replace(memory, good=self._good(view))
        update = Update(target, self._parties.clock(), is_rollback=is_rollback)
        # Remembered before it is sent: whoever finds this knows that something may be under way.
        what = f"The service is {'given back' if is_rollback else 'given'} the certificate {_short(target)}."
        note = self._remember(
            view, replace(memory, update=update), events.UPDATE_SENT, what, target.fingerprint, rollback=is_rollback
        )
        try:
            told = self._parties.deployments.update(certificate)
        except ControlPlaneRefused as error:
            step = failed(view.world, update, Reason.UPDATE_FAILED, error.detail)
            self._fail(replace(view, note=note), step)
            return
        except ControlPlaneUnreachable:
            return  # it may have arrived: the next looks tell
        ended_at = self._parties.clock() if told.progress is Progress.SUCCEEDED else None
        if told.operation or ended_at:
            update = replace(update, operation=told.operation, ended_at=ended_at)
            self._write_note(replace(note, memory=replace(memory, update=update)))

    def _good(self, view: View) -> Candidate | None:
        """What to go back to: the last certificate that was verified, or what is served now, if Key Vault holds it."""
        good, served = view.note.memory.good, view.world.served
        if good is not None or served is None:
            return good
        for version in self._parties.vault.versions(self._names.certificate)[:_VERSIONS]:
            if version.enabled:
                candidate = Candidate(version.id, served)
                try:
                    if self._read(candidate).fingerprint == served:
                        return candidate
                except (GatewayError, ValueError):
                    continue  # whatever it is, it is not that
        return None

    def _settle(self, view: View) -> None:
        memory = view.note.memory
        if memory.update is not None:
            update = replace(memory.update, ended_at=self._parties.clock())
            what = "The update has ended; its certificate is awaited."
            self._remember(view, replace(memory, update=update), events.UPDATE_ENDED, what)

    def _verify(self, view: View, target: Candidate) -> None:
        if view.keys is not None and isinstance(view.keys.step, Store):
            # An update may change keys: they must be known before the proof.
            self._act_on_keys(view, view.keys)
            return
        update = view.note.memory.update
        try:
            self._prove(view.keys, self._certificate(view, target).leaf)
        except GatewayError as error:
            patience = self._settings.update_seconds + self._settings.settling_seconds
            if isinstance(error, _INCONCLUSIVE) and (update is None or view.world.now < update.begun_at + patience):
                raise
            begun = update or Update(target, view.world.now)
            self._fail(view, failed(view.world, begun, Reason.VERIFICATION_FAILED, f"{error.title}. {error.detail}"))
            return
        self._remember(view, self._verified(view, target), *_outcome(update, target), target.fingerprint)

    def _verified(self, view: View, target: Candidate) -> Memory:
        memory = view.note.memory
        others = {name: failure for name, failure in memory.failed.items() if name != target.fingerprint}
        now = self._parties.clock()
        return replace(memory, good=replace(target, refusal=""), verified_at=now, update=None, failed=others)

    def _fail(self, view: View, step: Fail) -> None:
        memory = view.note.memory
        failures = {**memory.failed, step.target.fingerprint: step.failure}
        is_proof = step.failure.reason is Reason.VERIFICATION_FAILED
        what = f"{'The proof of' if is_proof else 'The update to'} {_short(step.target)} failed: {step.failure.message}"
        self._remember(
            view,
            replace(memory, update=None, failed=failures),
            events.VERIFICATION_FAILED if is_proof else events.UPDATE_FAILED,
            what,
            step.target.fingerprint,
            reason=step.failure.reason,
        )

    def _drop_pins(self, view: View, keep: Candidate) -> None:
        kept = [leaf for leaf in view.pinned.leaves if fingerprint(leaf) == keep.fingerprint]
        self._write_pins([*view.pinned.authorities, *kept])
        dropped = len(view.pinned.leaves) - len(kept)
        what = f"The certificate {_short(keep)} is pinned alone; {_count(dropped, 'old pin')} dropped."
        self._commit(view.note, events.PINS_DROPPED, what, keep.fingerprint)

    # The steps of a key rotation.

    def _request(self, view: View, *, rotate_keys: bool, retry: bool) -> None:
        note = view.note
        if retry and note.memory.failed:
            note = replace(note, memory=replace(note.memory, failed={}))
            self._write_note(note)
        if rotate_keys and note.keys is None:
            if view.keys is None:
                raise view.problem or ControlPlaneUnreachable("The control plane gave no keys.")
            versions = {kind: secret.version for kind, secret in view.keys.held.items()}
            what = "The rotation of both keys begins."
            self._commit(replace(note, keys=versions), events.KEYS_REQUESTED, what)

    def _act_on_keys(self, view: View, keys: Keys) -> None:
        match keys.step:
            case Store(kind):
                self._parties.vault.write(self._names.keys[kind], keys.current[kind])
                what = f"The service's {kind} key was changed elsewhere, and is in Key Vault now."
                self._commit(view.note, events.KEY_STORED, what, key=kind)
            case Regenerate(kind):
                self._regenerate(view, keys, kind)
            case Finish():
                self._commit(replace(view.note, keys=None), events.KEYS_ROTATED, "Both keys have been rotated.")
            case _:
                pass

    def _regenerate(self, view: View, keys: Keys, kind: Kind) -> None:
        if view.served is None:
            raise ServiceUnreachable("The service presents no certificate, and its keys cannot be proven.")
        # Whoever is left without a key must be let in by the other one.
        self._prove_key(keys.held[kind.other].value, view.served)
        value = self._parties.deployments.regenerate(kind)
        self._parties.vault.write(self._names.keys[kind], value)
        what = f"The {kind} key was generated anew, and is in Key Vault."
        self._commit(view.note, events.KEY_REGENERATED, what, key=kind)

    # Parts of the above.

    def _prove(self, keys: Keys | None, leaf: x509.Certificate) -> None:
        """Have something scored, trusting one certificate alone, with the keys as gateways try them."""
        refusal: GatewayError | None = None
        for key in keys.newest_first if keys else self._stored_keys():
            try:
                self._prove_key(key, leaf)
            except KeysRefused as error:
                refusal = error
            else:
                return
        raise refusal or KeysRefused("Key Vault holds no key of the service.")

    def _stored_keys(self) -> list[str]:
        return [self._parties.vault.read(name).value for name in self._names.keys.values()]

    def _prove_key(self, key: str, leaf: x509.Certificate) -> None:
        ends = self._parties.clock() + _REACH_SECONDS
        while True:
            try:
                return self._parties.endpoint.score(pem(leaf), key)
            except _INCONCLUSIVE:
                # A service that was just updated may be starting again.
                if self._parties.clock() >= ends:
                    raise
            self._parties.sleep(_REACH_PAUSE)

    def _certificate(self, view: View, target: Candidate) -> Certificate:
        if view.desired is not None and view.desired.fingerprint == target.fingerprint:
            return view.desired
        return self._read(target)

    def _read(self, target: Candidate) -> Certificate:
        return read(content(self._parties.vault.read(self._names.certificate, target.version)))

    def _write_pins(self, certificates: list[x509.Certificate]) -> None:
        text = "".join(map(pem, dict.fromkeys(certificates)))
        self._parties.vault.write(self._names.pins, text, content_type=PEM)

    def _remember(
        self, view: View, memory: Memory, kind: str, detail: str, about: str = "", **data: str | float
    ) -> Note:
        return self._commit(replace(view.note, memory=memory), kind, detail, about, **data)

    def _commit(self, note: Note, kind: str, detail: str, about: str = "", **data: str | float) -> Note:
        """Write the note, with this event in its history, and announce the event."""
        at = self._parties.clock()
        note = note.with_entry(Entry(at, kind, detail))
        self._write_note(note)
        found = {"fingerprint": about} if about else {}
        self._parties.announce(Event(kind, self.service.name, at, detail, {**found, **data}))
        return note

    def _write_note(self, note: Note) -> None:
        self._parties.vault.write(self._names.note, notes.write(note), content_type="application/json")


def _stopped(view: View) -> str:
    """Why nothing goes on, in words; empty where it does."""
    match view.step:
        case Stop(reason, message):
            return f"{reason}: {message}" if message else str(reason)
        case _:
            return ""


def _outcome(update: Update | None, target: Candidate) -> tuple[str, str]:
    """The event of a certificate that was verified."""
    if update is None:
        return events.VERIFIED, f"The certificate {_short(target)} serves, and scores."
    if update.is_rollback:
        return events.ROLLED_BACK, f"The service is back at the certificate {_short(target)}, and scores."
    return events.ROTATED, f"The service serves the certificate {_short(target)}, and scores."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _short(target: Candidate) -> str:
    return target.fingerprint[:16]
