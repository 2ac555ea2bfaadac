"""What condemns a certificate, what is tried again, and what is rolled back to: with real servers."""

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.authority import Issued
from shared.credentials.pins import Roots
from shared.errors import GatewayError
from shared.rotation.decide import Reason, Stop
from shared.rotation.status import describe
from shared.rotation.validate import Certificate
from tests.support.odd_certificates import self_signed
from tests.support.rotation import LONG, RotatedService, RotationEnvironment

ODD: dict[str, Any] = {"allow_self_signed": True}


class Unrehearsed:
    """A service's probe whose rehearsal finds nothing: the service's TLS is not the gateway's."""

    def __init__(self, probe: Any) -> None:
        self._probe = probe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._probe, name)

    def rehearse(self, _certificate: Certificate, _roots: Roots) -> str:
        return ""


def unrehearsed(rotated: RotatedService) -> RotatedService:
    parts = vars(rotated.interfaces)
    rotated.interfaces = type(rotated.interfaces)(**{**parts, "probe": Unrehearsed(parts["probe"])})
    return rotated


def unservable() -> Issued:
    """One that OpenSSL takes, and gRPC's clients refuse in every handshake."""
    return self_signed(rsa.generate_private_key(65537, 3072), usages=("key_encipherment",))


def until(rotated: RotatedService, kind: str, seconds: float = 60.0) -> list[str]:
    """Run until an event is announced, through problems; returns those."""
    problems, ends = list[str](), time.monotonic() + seconds
    while kind not in rotated.kinds:
        assert time.monotonic() < ends, (rotated.kinds, problems)
        try:
            rotated.rotation(**ODD).run(LONG)
        except GatewayError as error:
            problems.append(error.slug)
        time.sleep(0.1)
    return problems


def test_a_certificate_that_no_gateway_could_connect_with_changes_nothing(environment: RotationEnvironment) -> None:
    cats = environment.steady("unservable")
    served, pinned = cats.served(), cats.pinned()
    cats.offer(unservable())

    until(cats, "rotation-stopped")

    described = describe(cats.rotation(**ODD).observe())
    assert "its keyUsage lacks digitalSignature" in described["desired"]["refusal"]
    assert described["next_step"]["reason"] == Reason.CERTIFICATE_REFUSED
    assert (cats.served(), cats.pinned(), cats.updates()) == (served, pinned, 0)


def test_a_pinned_certificate_of_the_same_subject_changes_nothing(environment: RotationEnvironment) -> None:
    cats = environment.service("namesakes", self_signed())
    until(cats, "certificate-verified")
    cats.offer(self_signed())

    until(cats, "rotation-stopped")

    assert "one of them has the same subject" in describe(cats.rotation(**ODD).observe())["last_error"]
    assert cats.updates() == 0
    cats.offer(self_signed(subject="another"))
    until(cats, "certificate-rotated")


def test_a_handshake_that_fails_with_the_new_certificate_rolls_back_at_once(environment: RotationEnvironment) -> None:
    cats = unrehearsed(environment.steady("untrusted"))
    old = cats.served()
    cats.offer(unservable())
    until(cats, "update-sent")
    began = time.monotonic()

    until(cats, "certificate-rolled-back")

    assert time.monotonic() - began < 25
    assert cats.kinds[:5] == [
        *("pin-added", "update-sent", "verification-failed", "update-sent", "certificate-rolled-back"),
    ]
    assert cats.served() == old
    step = cats.rotation(**ODD).observe().step
    assert isinstance(step, Stop)
    assert (step.reason, step.until) == (Reason.VERIFICATION_FAILED, None)
    assert "the TLS handshake fails" in step.message


def test_what_cannot_be_rolled_back_to_is_not_sent_and_a_person_is_told(environment: RotationEnvironment) -> None:
    cats = unrehearsed(environment.steady("disabled-good"))
    good = cats.vault.read(cats.settings.certificate_secret).version
    cats.offer(unservable())
    cats.vault.renew(cats.settings.certificate_secret, good, enabled=False)

    until(cats, "rotation-stopped")

    described = describe(cats.rotation(**ODD).observe())
    assert described["next_step"]["reason"] == Reason.ROLLBACK_REFUSED
    assert f"version {good} of secret 'disabled-good-certificate' is disabled; enable it" in described["last_error"]
    assert cats.updates() == 1
    # Enabled, and the rotation goes on by itself.
    cats.vault.renew(cats.settings.certificate_secret, good, enabled=True)
    until(cats, "certificate-rolled-back")


@pytest.mark.parametrize("status", ["INTERNAL", "NOT_FOUND", "FAILED_PRECONDITION", "UNAUTHENTICATED"])
def test_a_service_that_cannot_score_yet_condemns_no_certificate(environment: RotationEnvironment, status: str) -> None:
    cats = environment.steady(f"loading-{status.lower().replace('_', '-')}")
    cats.offer()
    until(cats, "pin-added")
    environment.plane.admin(cats.id, {"faults": {"fail_next": 6, "fail_with": status}})

    problems = until(cats, "certificate-rotated")

    assert problems
    assert "verification-failed" not in cats.kinds
    assert cats.updates() == 1


def test_what_prevents_a_verification_is_announced_after_the_settling_time(environment: RotationEnvironment) -> None:
    cats = environment.steady("long-loading")
    cats.offer()
    until(cats, "pin-added")
    environment.plane.admin(cats.id, {"faults": {"fail_next": 10_000, "fail_with": "NOT_FOUND"}})

    until(cats, "rotation-stopped")

    described = describe(cats.rotation().observe())
    assert described["last_error"].startswith("not-verified: The inference service rejects the gateway's call.")
    before = cats.versions()
    for _ in range(3):
        with pytest.raises(GatewayError):
            cats.rotation().run(LONG)
    assert cats.versions() == before, "a run that changes nothing stores nothing"
    environment.plane.admin(cats.id, {"faults": {}})
    until(cats, "certificate-rotated")
    assert cats.updates() == 1
    until(cats, "rotation-resumed")


def test_updates_that_the_control_plane_loses_are_counted_and_announced(environment: RotationEnvironment) -> None:
    cats = environment.steady("lost")
    environment.plane.set_faults({"mode": "error", "calls": ["update"], "services": ["lost"]})
    cats.offer()

    until(cats, "rotation-stopped")
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        cats.rotation().run(LONG)
        time.sleep(0.1)

    assert cats.kinds.count("update-sent") <= 4
    described = describe(cats.rotation().observe())
    assert described["failed"][0]["reason"] == Reason.UPDATE_LOST
    assert "500" in described["failed"][0]["detail"]
    environment.plane.set_faults()
    cats.rotation().run(LONG, retry=True)
    until(cats, "certificate-rotated")
    assert cats.updates() == 1
