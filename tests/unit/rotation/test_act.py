"""The steps of a rotation, with Key Vault and the control plane in memory: what is stored, sent and announced."""

import datetime as dt
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from devstack.authority import Authority
from shared.credentials.pins import Roots
from shared.credentials.secrets import Secret, Version
from shared.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    DeadlineExceeded,
    GatewayError,
    HandshakeFailed,
    KeysRefused,
    ProxyRefused,
    SecretDisabled,
    SecretMissing,
    ServiceAnswerInvalid,
    ServiceBusy,
    ServiceCertificateExpired,
    ServiceFailed,
    ServiceNameMismatch,
    ServiceRejected,
    ServiceUnreachable,
    ServiceUntrusted,
    ServiceWithoutTls,
    VaultForbidden,
    VaultThrottled,
)
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
    Verify,
)
from shared.rotation.decide_keys import Finish, KeyKind, KeysSettled, KeyStep, Store
from shared.rotation.events import Event
from shared.rotation.interfaces import Interfaces, UpdateStatus
from shared.rotation.observe import Keys, Observation, PinnedCertificates, SecretNames
from shared.rotation.presented import Handshakes, Presented
from shared.rotation.state import RotationState
from shared.rotation.validate import parse
from shared.settings import ServiceSettings

NAMES = SecretNames.of(
    ServiceSettings(
        "cats", "x", certificate_secret="certificate", primary_key_secret="primary", secondary_key_secret="secondary"
    )
)
AUTHORITY = Authority.create()
# As Key Vault has them: version 1 is served, version 2 is to be, version 3 is no certificate.
TEXTS = [f"{issued.chain.decode()}{issued.key.decode()}" for issued in (AUTHORITY.issue(), AUTHORITY.issue())]
OLD, NEW = (Candidate(str(index), parse(text).fingerprint) for index, text in enumerate(TEXTS, 1))
NOW = 1000.0


_RUNNING = UpdateStatus(Progress.RUNNING)


class Vault:
    """Secrets in memory: the certificate's versions, and what is written."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        self.writes: list[str] = []
        self.keys: dict[str, str] = {}
        self.unreadable: dict[str, GatewayError] = {}

    def read(self, name: str, version: str | None = None) -> Secret:
        if name in self.unreadable:
            raise self.unreadable[name]
        if name in self.keys:
            return Secret(self.keys[name], "1", NOW)
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


class Probe:
    """A service's endpoint: ``failure`` is how a request with a key ends, ``presented`` what it presents."""

    def __init__(self, presented: str) -> None:
        self.failure: GatewayError | None = None
        self.roots: list[Roots] = []
        self.presented = presented

    def score(self, roots: Roots, _key: str) -> None:
        self.roots.append(roots)
        if self.failure is not None:
            raise self.failure

    def handshakes(self) -> Handshakes:
        when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        return Handshakes((Presented(self.presented, (), when, when, 128),) if self.presented else ())


class Rotated:
    """A service whose rotation takes steps; ``outcome`` is what the control plane makes of an update."""

    def __init__(self, outcome: UpdateStatus | Exception = _RUNNING) -> None:
        self.vault, self.events, self.sent = Vault(), list[Event](), list[str]()
        self.probe = Probe(NEW.fingerprint)

        def update(certificate: Any) -> UpdateStatus:
            self.sent.append(certificate.fingerprint)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        updates: Any = SimpleNamespace(update=update)
        vault, probe = self.vault, self.probe
        self.checks = 0
        self.now = NOW
        parts: Any = (vault, updates, probe, self.events.append, None, None, self._clock, self._sleep)
        interfaces = Interfaces(*parts)
        self.actions = Actions("cats", NAMES, interfaces, self._check)

    def _check(self) -> None:
        self.checks += 1

    def _clock(self) -> float:
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

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


def verifying(**memory: Any) -> Observation:
    """The new certificate is served after an update, and both are pinned."""
    pinned = PinnedCertificates([parse(text).leaf for text in TEXTS])
    found = observed(Verify(NEW), update=Update(NEW, 1.0), good=OLD, **memory)
    state = replace(found.state, served=NEW.fingerprint, pins=pinned.fingerprints)
    return replace(found, state=state, pinned=pinned)


def test_a_certificate_is_proven_alone_and_with_what_gateways_trust() -> None:
    rotated = Rotated()
    rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}

    rotated.actions.take(verifying())

    assert [roots.bundle.count(b"BEGIN") for roots in rotated.probe.roots] == [1, 2]
    assert rotated.kinds == ["certificate-rotated"]
    memory = rotated.vault.state.memory
    assert (memory.good, memory.retired) == (NEW, {OLD.fingerprint: NOW})


def test_the_grace_time_of_a_pin_starts_once() -> None:
    rotated = Rotated()
    rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}

    rotated.actions.take(verifying(retired={OLD.fingerprint: 5.0, "long gone": 1.0}))

    assert rotated.vault.state.memory.retired == {OLD.fingerprint: 5.0}


VERDICTS = [ServiceUntrusted("x"), ServiceCertificateExpired("x"), ServiceNameMismatch("x"), HandshakeFailed("x")]
NO_VERDICTS = [
    *(ServiceUnreachable("x"), ServiceBusy("x"), DeadlineExceeded("x"), ServiceFailed("x"), KeysRefused("x")),
    *(ServiceRejected("x", "NOT_FOUND"), ServiceAnswerInvalid("x"), ServiceWithoutTls("x"), ProxyRefused("x")),
]


@pytest.mark.parametrize("failure", VERDICTS, ids=lambda failure: type(failure).__name__)
def test_a_failure_of_trust_is_a_verdict_where_the_certificate_is_presented(failure: GatewayError) -> None:
    for presented, condemned in ((NEW.fingerprint, True), (OLD.fingerprint, False), ("", False)):
        rotated = Rotated()
        rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}
        rotated.probe.failure, rotated.probe.presented = failure, presented

        with nullcontext() if condemned else pytest.raises(type(failure)):
            rotated.actions.take(verifying())

        assert (NEW.fingerprint in rotated.vault.state.memory.failed) is condemned


@pytest.mark.parametrize("failure", NO_VERDICTS, ids=lambda failure: type(failure).__name__)
def test_no_other_failure_is_a_verdict(failure: GatewayError) -> None:
    rotated = Rotated()
    rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}
    rotated.probe.failure = failure

    with pytest.raises(type(failure)):
        rotated.actions.take(verifying())

    memory = rotated.vault.state.memory
    assert (memory.failed, memory.update) == ({}, Update(NEW, 1.0))
    assert memory.trouble is not None
    assert memory.trouble.message.endswith("x")
    # Tried again: nothing more is stored.
    with pytest.raises(type(failure)):
        rotated.actions.take(verifying(trouble=memory.trouble))
    assert rotated.vault.writes == [NAMES.state]


@pytest.mark.parametrize("trouble", [VaultThrottled("429"), VaultForbidden("403"), SecretMissing("none")])
def test_a_vaults_trouble_is_never_evidence_about_a_certificate(trouble: GatewayError) -> None:
    rotated = Rotated()
    rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}
    rotated.vault.unreadable = {NAMES.keys[KeyKind.SECONDARY]: trouble}

    with nullcontext() if isinstance(trouble, SecretMissing) else pytest.raises(type(trouble)):
        rotated.actions.take(verifying())

    assert rotated.vault.state.memory.failed == {}
    # One key is enough.
    assert rotated.kinds == (["certificate-rotated"] if isinstance(trouble, SecretMissing) else [])


def test_a_certificate_whose_version_was_disabled_is_proven_with_the_pins() -> None:
    rotated = Rotated()
    rotated.vault.keys = {NAMES.keys[KeyKind.PRIMARY]: "key"}
    rotated.vault.unreadable = {NAMES.certificate: SecretDisabled("disabled")}

    rotated.actions.take(verifying())

    assert rotated.kinds == ["certificate-rotated"]


def test_an_update_that_conflicts_with_another_operation_is_no_failure_of_its_own() -> None:
    rotated = Rotated(ControlPlaneRefused("another operation is in progress", 409))

    rotated.actions.take(observed(Send(NEW), good=OLD))

    assert rotated.vault.state.memory.failed[NEW.fingerprint].reason is Reason.UPDATE_CONFLICT
