"""The steps of a rotation, with Key Vault and the control plane in memory: what is stored, sent and announced."""

from types import SimpleNamespace
from typing import Any

import pytest

from devstack.authority import Authority
from shared.credentials.secrets import Secret, Version
from shared.errors import ControlPlaneRefused, ControlPlaneUnreachable, SecretMissing
from shared.rotation import state as persisted
from shared.rotation.act import Actions
from shared.rotation.decide import (
    Candidate,
    Fail,
    Failure,
    Memory,
    ObservedState,
    Progress,
    Reason,
    Send,
    Settle,
    Step,
    Update,
)
from shared.rotation.decide_keys import Finish, KeyKind, KeysSettled, KeyStep, Store
from shared.rotation.events import Event
from shared.rotation.interfaces import Interfaces, UpdateStatus
from shared.rotation.observe import Keys, Observation, PinnedCertificates, SecretNames
from shared.rotation.state import RotationState
from shared.rotation.validate import parse
from shared.settings import ServiceSettings

NAMES = SecretNames.of(ServiceSettings("cats", "x", certificate_secret="certificate"))
AUTHORITY = Authority.create()
# As Key Vault has them: version 1 is served, version 2 is to be, version 3 is no certificate.
TEXTS = [f"{issued.chain.decode()}{issued.key.decode()}" for issued in (AUTHORITY.issue(), AUTHORITY.issue())]
OLD, NEW = (Candidate(str(index), parse(text).fingerprint) for index, text in enumerate(TEXTS, 1))
NOW = 1000.0


class Vault:
    """Secrets in memory: the certificate's versions, and what is written."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        self.writes: list[str] = []

    def read(self, name: str, version: str | None = None) -> Secret:
        if name != NAMES.certificate or version is None:
            raise SecretMissing("no such secret")
        return Secret(["", *TEXTS, "-----BEGIN nothing"][int(version)], version, NOW)

    def versions(self, name: str) -> list[Version]:
        assert name == NAMES.certificate
        return [Version("3", NOW), Version("2", NOW), Version("1", NOW, enabled=False), Version("1", NOW)]

    def write(self, name: str, value: str, **_: Any) -> None:
        self.written[name] = value
        self.writes.append(name)

    @property
    def state(self) -> RotationState:
        return persisted.parse(self.written[NAMES.state])


class Rotated:
    """A service whose rotation takes steps; ``outcome`` is what the control plane makes of an update."""

    def __init__(self, outcome: UpdateStatus | Exception) -> None:
        self.vault, self.events, self.sent = Vault(), list[Event](), list[str]()

        def update(certificate: Any) -> UpdateStatus:
            self.sent.append(certificate.fingerprint)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        updates: Any = SimpleNamespace(update=update)
        vault, probe = self.vault, None
        self.checks = 0
        clock = lambda: NOW  # noqa: E731
        interfaces = Interfaces(vault, updates, probe, self.events.append, None, clock)  # type: ignore[arg-type]
        self.actions = Actions("cats", NAMES, interfaces, self._check)

    def _check(self) -> None:
        self.checks += 1

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def observed(step: Step, keys: Keys | None = None, **memory: Any) -> Observation:
    state = RotationState(Memory(**memory))
    found = ObservedState(NOW, NEW, OLD.fingerprint, frozenset({OLD.fingerprint}), memory=state.memory)
    return Observation(state, found, step, None, None, PinnedCertificates(), keys)


def test_an_update_is_persisted_with_what_to_roll_back_to() -> None:
    rotated = Rotated(UpdateStatus(Progress.RUNNING, "operations/1"))

    rotated.actions.take(observed(Send(NEW)))

    assert rotated.sent == [NEW.fingerprint]
    assert rotated.kinds == ["update-sent"]
    memory = rotated.vault.state.memory
    assert memory.good == OLD, "found among the versions by what is served"
    assert memory.update == Update(NEW, NOW, operation="operations/1")


@pytest.mark.parametrize(
    ("outcome", "kinds", "update"),
    [
        (UpdateStatus(Progress.SUCCEEDED), ["update-sent"], Update(NEW, NOW, ended_at=NOW)),
        (
            ControlPlaneUnreachable("it responded with 503"),
            ["update-sent"],
            Update(NEW, NOW, trouble="it responded with 503"),
        ),
        (ControlPlaneRefused("no accelerator is free"), ["update-sent", "update-failed"], None),
    ],
    ids=["done at once", "of unknown outcome", "refused"],
)
def test_what_becomes_of_an_update_is_persisted(
    outcome: UpdateStatus | Exception, kinds: list[str], update: Update | None
) -> None:
    rotated = Rotated(outcome)

    rotated.actions.take(observed(Send(NEW), good=OLD))

    assert rotated.kinds == kinds
    assert rotated.checks == len(rotated.vault.writes) + 1, "the lease is checked before each write, and the update"
    memory = rotated.vault.state.memory
    assert memory.update == update
    assert [failure.message for failure in memory.failed.values()] == ([] if update else ["no accelerator is free"])


def test_the_end_of_an_update_and_a_lost_one_are_persisted() -> None:
    rotated = Rotated(UpdateStatus(Progress.RUNNING))

    rotated.actions.take(observed(Settle(), update=Update(NEW, 1.0)))
    assert rotated.vault.state.memory.update == Update(NEW, 1.0, ended_at=NOW)
    lost = Failure(Reason.UPDATE_LOST, "status 503", NOW, 2)
    rotated.actions.take(observed(Fail(NEW, lost), update=Update(NEW, 1.0)))
    memory = rotated.vault.state.memory
    assert (memory.update, memory.failed) == (None, {NEW.fingerprint: lost})
    assert rotated.kinds == ["update-ended", "update-lost"]


def keys(step: KeyStep) -> Keys:
    return Keys(dict.fromkeys(KeyKind, "value"), {kind: Secret("old", f"v-{kind}", NOW) for kind in KeyKind}, step)


def test_a_key_that_was_changed_elsewhere_is_stored_and_the_end_is_announced() -> None:
    rotated = Rotated(UpdateStatus(Progress.RUNNING))

    for step in (Store(KeyKind.PRIMARY), Finish(), KeysSettled()):
        rotated.actions.take_for_keys(observed(Settle()), keys(step))

    assert rotated.vault.written[NAMES.keys[KeyKind.PRIMARY]] == "value"
    assert rotated.kinds == ["key-stored", "keys-rotated"]


def test_a_request_is_persisted() -> None:
    rotated = Rotated(UpdateStatus(Progress.RUNNING))
    failed = {NEW.fingerprint: Failure(Reason.UPDATE_FAILED)}

    rotated.actions.request(observed(Settle(), keys(KeysSettled()), failed=failed), rotate_keys=True, retry=True)

    assert rotated.vault.state.memory.failed == {}
    assert rotated.vault.state.keys == {kind: f"v-{kind}" for kind in KeyKind}
    with pytest.raises(ControlPlaneUnreachable, match="no keys"):
        rotated.actions.request(observed(Settle()), rotate_keys=True, retry=False)
