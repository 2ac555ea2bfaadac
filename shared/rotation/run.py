"""One reconciliation run of one service: observe, decide, act, until nothing more can be done now.

A run that has something to do holds the service's lease (see :mod:`shared.rotation.lease`), and observes again once it
has it.
"""

from dataclasses import replace

from shared.backoff import backoff
from shared.rotation import events
from shared.rotation.act import Actions
from shared.rotation.decide import Nothing, Reason, Stop, Verify, Wait
from shared.rotation.decide_keys import KeysSettled, KeyWait, Regenerate
from shared.rotation.interfaces import Interfaces
from shared.rotation.observe import Observation, Observer
from shared.settings import RotationSettings, ServiceSettings

# Seconds between two polls of an update in progress; doubled each time.
_POLL_FIRST, _POLL_LAST = 0.25, 3.0

_DAY = 86_400.0
# Remaining days at which the expiry of the served certificate is announced, below ROTATION_WARN_DAYS.
_WARNINGS = (0, 1, 3, 7, 14, 30, 60, 90)


class ServiceRotation:
    """Rotates one service's certificate and keys."""

    def __init__(
        self, service: ServiceSettings, settings: RotationSettings, refresh_seconds: float, interfaces: Interfaces
    ) -> None:
        self._settings = settings
        self._interfaces = interfaces
        self._observer = Observer(service, settings, refresh_seconds, interfaces)
        self._service = service.name

    def observe(self) -> Observation:
        """The state, and the next steps; nothing is changed.

        Raises:
            GatewayError: Key Vault cannot be read; the cause.
        """
        return self._observer.observe()

    def run(self, seconds: float, *, rotate_keys: bool = False, retry: bool = False) -> Observation:
        """Take the steps that can be taken now, in about that many seconds, and return the observation after them.

        Args:
            seconds: no further step is started after this time.
            rotate_keys: start a rotation of both keys, unless one is in progress.
            retry: forget what failed, so that it is retried.

        Raises:
            LeaseHeld: another run is at work.
            GatewayError: a step failed; the cause. The next run continues from there.
        """
        clock = self._interfaces.clock
        ends = clock() + seconds
        observed = self.observe()
        rotate_keys = rotate_keys or self._keys_are_old(observed)
        if not (rotate_keys or retry or self._has_work(observed)):
            return observed
        secret, length = self._observer.secrets.lease, self._settings.lease_seconds
        # The second half of the lease is left for the step that is in progress when the first one ends.
        ends = min(ends, clock() + length / 2)
        with self._interfaces.leases.acquired(secret, length) as acquired:
            actions = Actions(self._service, self._observer.secrets, self._interfaces, acquired.check)
            if retry or rotate_keys:
                actions.request(self.observe(), rotate_keys=rotate_keys, retry=retry)
            return self._reconcile(actions, ends)

    def _reconcile(self, actions: Actions, ends: float) -> Observation:
        polls = 0
        while True:
            observed = self.observe()
            if self._advance(actions, observed):
                polls = 0
            else:
                polls += 1
                pause = backoff(polls, _POLL_FIRST, _POLL_LAST)
                waits_for_update = isinstance(observed.step, Wait) and observed.state.memory.update is not None
                if not waits_for_update or self._interfaces.clock() + pause >= ends:
                    return observed
                self._interfaces.sleep(pause)
            if self._interfaces.clock() >= ends:
                return self.observe()

    def _has_work(self, observed: Observation) -> bool:
        return (
            not isinstance(observed.step, Nothing | Wait | Stop)
            or self._key_step_is_due(observed)
            or self._change_is_due(observed)
            or self._warning(observed) is not None
        )

    def _change_is_due(self, observed: Observation) -> bool:
        seconds = self._settings.settling_seconds
        return self._interfaces.hold.is_due(_stopped(observed), observed.persisted.stopped, observed.state.now, seconds)

    def _keys_are_old(self, observed: Observation) -> bool:
        if not self._settings.key_days or observed.keys is None or observed.persisted.keys is not None:
            return False
        oldest = min((secret.created for secret in observed.keys.stored.values()), default=observed.state.now)
        return observed.state.now - oldest > self._settings.key_days * _DAY

    def _key_step_is_due(self, observed: Observation) -> bool:
        if observed.keys is None or isinstance(observed.keys.step, KeysSettled | KeyWait):
            return False
        # A key is not regenerated during an update, which may change the keys, too.
        return not (isinstance(observed.keys.step, Regenerate) and observed.state.memory.update is not None)

    def _advance(self, actions: Actions, observed: Observation) -> bool:
        """Take one step; False where there is none to take."""
        if self._announce_change(actions, observed):
            return True
        if not isinstance(observed.step, Nothing | Wait | Stop):
            actions.take(observed)
            return True
        if observed.keys is not None and self._key_step_is_due(observed):
            actions.take_for_keys(observed, observed.keys)
            return True
        return False

    def _announce_change(self, actions: Actions, observed: Observation) -> bool:
        """Announce once that a rotation has stopped or resumed, or that a certificate is about to expire."""
        if self._change_is_due(observed):
            stopped = _stopped(observed)
            kind = events.STOPPED if stopped else events.RESUMED
            detail = f"The rotation has stopped: {stopped.rstrip('.')}." if stopped else "The rotation has resumed."
            actions.commit(replace(observed.persisted, stopped=stopped), kind, detail)
            return True
        warning = self._warning(observed)
        if warning is not None and observed.served is not None:
            days, left = warning
            ends = f"{observed.served.not_after:%Y-%m-%d %H:%M} UTC"
            detail = f"The served certificate {'expires' if left > 0 else 'expired'} on {ends}."
            state = replace(observed.persisted, warned=(observed.served.fingerprint, days))
            actions.commit(state, events.EXPIRING, detail, observed.served.fingerprint, days=round(left, 2))
            return True
        return False

    def _warning(self, observed: Observation) -> tuple[int, float] | None:
        """The number of days to warn of now, and the days really left; None where that was done."""
        if observed.served is None:
            return None
        left = (observed.served.not_after.timestamp() - observed.state.now) / _DAY
        warn_days = self._settings.warn_days
        within = [days for days in (*_WARNINGS, warn_days) if left <= days <= warn_days]
        if not within:
            return None
        warned, days = observed.persisted.warned or ("", 0)
        is_new = warned != observed.served.fingerprint or min(within) < days
        return (min(within), left) if is_new else None


def _stopped(observed: Observation) -> str:
    """The reason of a stop, in words; empty where there is none."""
    match observed.step:
        case Stop(reason, message):
            return f"{reason}: {message}" if message else str(reason)
        case Verify(_, overdue) if overdue:
            return f"{Reason.NOT_VERIFIED}: {overdue}"
        case _:
            return ""
