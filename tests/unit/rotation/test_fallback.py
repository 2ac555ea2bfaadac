"""What a rotation would roll back to, as it is now: read from Key Vault, validated and rehearsed."""

import datetime as dt
from typing import Any

import pytest

from devstack.authority import Authority, Issued
from shared.credentials.secrets import Secret
from shared.errors import GatewayError, IdentityUnavailable, SecretDisabled, SecretMissing
from shared.rotation import state as persisted
from shared.rotation.decide import Candidate, Failure, Memory, Reason, Stop
from shared.rotation.interfaces import Interfaces
from shared.rotation.observe import Observation, Observer
from shared.rotation.presented import Handshakes, Presented
from shared.rotation.state import RotationState
from shared.rotation.validate import Certificate, parse
from shared.settings import RotationSettings, ServiceSettings

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC).timestamp()
AUTHORITY = Authority.create()
SERVICE = ServiceSettings("cats", "127.0.0.1", certificate_secret="certificate", pins_secret="pins")


def issue(days: float) -> Issued:
    # From the tests' own time on: they may run long after they were collected.
    return AUTHORITY.issue(["127.0.0.1"], valid_for=days * DAY, not_before=dt.datetime.fromtimestamp(NOW - 300, dt.UTC))


class FailedRotation:
    """The new certificate is served and failed its verification; the old one is what a roll-back returns to."""

    def __init__(self, good: Issued, *, error: GatewayError | None = None, rehearsed: str = "") -> None:
        new = issue(90)
        self.texts = {"1": (good.key + good.chain).decode(), "2": (new.key + new.chain).decode()}
        self.good, self.new = (parse(text).fingerprint for text in self.texts.values())
        self.pins = (good.certificate + new.certificate).decode()
        self.error, self.rehearsed = error, rehearsed

    def read(self, name: str, version: str | None = None) -> Secret:
        match name, version:
            case ("certificate", "1") if self.error is not None:
                raise self.error
            case ("certificate", _):
                return Secret(self.texts[version or "2"], version or "2", NOW)
            case ("pins", _):
                return Secret(self.pins, "1", NOW)
            case ("cats-rotation", _) | ("certificate-rotation", _):
                failed = {self.new: Failure(Reason.VERIFICATION_FAILED, "untrusted", NOW)}
                memory = Memory(Candidate("1", self.good), NOW - 99, failed=failed)
                return Secret(persisted.serialize(RotationState(memory)), "1", NOW)
            case _:
                raise SecretMissing("no such secret")

    def read_enabled(self, name: str) -> Secret:
        return self.read(name)

    def handshakes(self) -> Handshakes:
        when = dt.datetime.now(dt.UTC)
        return Handshakes((Presented(self.new, (), when, when, 192),))

    def rehearse(self, certificate: Certificate, _roots: Any) -> str:
        return self.rehearsed if certificate.fingerprint == self.good else ""

    def keys(self) -> None:
        raise IdentityUnavailable("not asked for")

    def observe(self) -> Observation:
        parts: Any = (self, self, self, None, None, None, lambda: NOW)
        return Observer(SERVICE, RotationSettings(), 300, Interfaces(*parts)).observe()


def refusal(failed: FailedRotation) -> str:
    step = failed.observe().step
    if isinstance(step, Stop):
        assert step.reason is Reason.ROLLBACK_REFUSED
        return step.message
    return ""


def test_a_valid_one_is_rolled_back_to_also_shortly_before_it_expires() -> None:
    assert refusal(FailedRotation(issue(90))) == ""
    assert refusal(FailedRotation(issue(3))) == ""


@pytest.mark.parametrize(
    ("failed", "cause"),
    [
        (FailedRotation(issue(-1)), "it expired on"),
        (FailedRotation(AUTHORITY.issue(["10.0.0.1"])), "it does not cover 127.0.0.1"),
        (
            FailedRotation(issue(90), error=SecretDisabled("the latest")),
            "its version 1 of secret 'certificate' is disabled; enable",
        ),
        (
            FailedRotation(issue(90), error=SecretMissing("none")),
            "its version 1 of secret 'certificate' no longer exists",
        ),
        (FailedRotation(issue(90), rehearsed="gRPC's TLS cannot use it"), "gRPC's TLS cannot use it"),
    ],
    ids=["expired", "another name", "disabled", "purged", "not usable by gRPC"],
)
def test_one_that_would_not_work_is_not_sent(failed: FailedRotation, cause: str) -> None:
    message = refusal(failed)

    assert message.startswith("untrusted; and to the last good certificate: ")
    assert cause in message
