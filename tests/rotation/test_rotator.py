"""Rotations from end to end, with every server real: each trouble by its name, and what came of it."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from devstack.authority import Authority, Issued
from shared.errors import KeysRefused
from shared.trust.rotation import Nothing, Reason, Stop
from tests.rotation.worlds import LONG, Rotated, World

DAY = dt.timedelta(days=1)


def steady(world: World, name: str) -> Rotated:
    """A service whose certificate is verified and pinned alone."""
    made = world.service(name)
    made.until("certificate-verified")
    made.events.clear()
    return made


def stopped(rotated: Rotated, reason: Reason) -> str:
    """Tick, and expect a stop for this reason; what it says."""
    rotated.until("rotation-stopped")
    step = rotated.rotator().look().step
    assert isinstance(step, Stop)
    assert step.reason is reason
    return step.message


def test_a_new_certificate_comes_into_service(world: World) -> None:
    cats = steady(world, "cats")
    old = cats.served()
    cats.offer()

    cats.until("old-pins-dropped")

    assert cats.kinds == ["pin-added", "update-sent", "certificate-rotated", "old-pins-dropped"]
    assert cats.served() != old
    assert cats.pinned() == {cats.served()}
    assert cats.updates() == 1
    assert isinstance(cats.rotator().look().step, Nothing)


def test_a_service_that_restarts_to_change_its_certificate(world: World) -> None:
    cats = steady(world, "restarting")
    world.plane.admin(cats.id, {"swap": "restart"})
    cats.offer()

    cats.until("old-pins-dropped")

    assert cats.updates() == 1


def test_nothing_to_do_writes_nothing(world: World) -> None:
    cats = steady(world, "idle")
    before = cats.versions()

    for _ in range(5):
        cats.rotator().tick(LONG)

    assert cats.versions() == before
    assert cats.events == []


@dataclass(frozen=True)
class Bad:
    """A certificate that must not come into service: how it is made, and what is said of it."""

    make: Callable[[Authority], Issued]
    said: str


def issue(authority: Authority, names: list[str] | None = None, **more: dt.timedelta | dt.datetime) -> Issued:
    return authority.issue(names or ["127.0.0.1"], **more)  # type: ignore[arg-type]  # the options' own types


def with_another_key(authority: Authority) -> Issued:
    one, other = issue(authority), issue(authority)
    return Issued(one.certificate, other.key, one.chain)


def without_its_issuer(authority: Authority) -> Issued:
    one = issue(authority)
    return Issued(one.certificate, one.key, one.certificate)


REFUSED = {
    "expired": Bad(lambda ca: issue(ca, valid_for=-DAY), "expired"),
    "not yet valid": Bad(lambda ca: issue(ca, not_before=dt.datetime.now(dt.UTC) + DAY), "valid only from"),
    "about to expire": Bad(lambda ca: issue(ca, valid_for=6 * DAY), "within 7 days"),
    "wrong key": Bad(with_another_key, "private key is not the certificate's"),
    "wrong name": Bad(lambda ca: issue(ca, ["cats.example.com"]), "it is not for 127.0.0.1"),
    "missing intermediate": Bad(without_its_issuer, "issuer's certificate is missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_certificate_that_is_refused_touches_nothing(world: World, case: str) -> None:
    cats = steady(world, f"refused-{case.replace(' ', '-')}")
    served, pinned = cats.served(), cats.pinned()
    cats.offer(REFUSED[case].make(world.authority))

    assert REFUSED[case].said in stopped(cats, Reason.CERTIFICATE_REFUSED)

    assert (cats.served(), cats.pinned(), cats.updates()) == (served, pinned, 0)
    assert cats.kinds == ["rotation-stopped"]
    # A better one, and it goes on.
    cats.offer()
    cats.until("certificate-rotated")
    assert "rotation-resumed" in cats.kinds


def test_a_secret_that_holds_no_certificate(world: World) -> None:
    cats = steady(world, "nonsense")
    world.vault.set("nonsense-certificate", "nonsense")

    assert "neither PEM nor PKCS#12" in stopped(cats, Reason.CERTIFICATE_REFUSED)


def test_the_vault_holds_no_certificate(world: World) -> None:
    cats = steady(world, "empty")
    cats.vault.disable("empty-certificate", cats.vault.read("empty-certificate").version)

    stopped(cats, Reason.NO_CERTIFICATE)


def test_a_disabled_version_is_passed_over(world: World) -> None:
    cats = steady(world, "disabled")
    time.sleep(1.1)  # the versions' order is that of whole seconds
    cats.offer()
    cats.vault.disable("disabled-certificate", cats.vault.read("disabled-certificate").version)

    assert isinstance(cats.rotator().tick(LONG).step, Nothing)


def test_an_endpoint_that_cannot_be_reached(world: World) -> None:
    cats = steady(world, "unreachable")
    world.plane.ended(world.plane.call("DELETE", f"/services/{cats.id}"))

    stopped(cats, Reason.ENDPOINT_UNREACHABLE)


def test_an_endpoint_that_serves_an_unknown_certificate_is_put_right_at_once(world: World) -> None:
    cats = steady(world, "stranger")
    desired = cats.served()
    cats.serve(world.authority.issue(["127.0.0.1"]))
    assert cats.served() != desired

    cats.until("certificate-rotated")

    assert cats.served() == desired


def test_an_update_that_fails_is_tried_again_later(world: World) -> None:
    cats = steady(world, "failing")
    served = cats.served()
    world.plane.switch({"mode": "fail", "services": ["failing"], "message": "no accelerator is free"})
    cats.offer()

    assert stopped(cats, Reason.UPDATE_FAILED) == "no accelerator is free"

    assert (cats.served(), cats.updates()) == (served, 1)
    world.plane.switch()
    # The next try is in an hour, or when a person says so.
    cats.rotator().tick(LONG)
    assert cats.updates() == 1
    cats.rotator().tick(LONG, retry=True)
    cats.until("certificate-rotated")


def test_an_update_that_hangs(world: World) -> None:
    cats = steady(world, "hanging")
    world.plane.switch({"mode": "hang", "services": ["hanging"]})
    cats.offer()

    cats.until("rotation-stopped", update_seconds=5.0)

    step = cats.rotator(update_seconds=5.0).look().step
    assert isinstance(step, Stop)
    assert step.reason is Reason.UPDATE_HUNG


def test_an_update_that_reports_success_and_serves_the_old_certificate(world: World) -> None:
    cats = steady(world, "stale")
    world.plane.switch({"mode": "stale", "services": ["stale"]})
    cats.offer()

    assert stopped(cats, Reason.OLD_CERTIFICATE_SERVED) == "the update succeeded, but it changed nothing"
    assert cats.updates() == 1


def test_a_certificate_that_does_not_pass_its_proof_is_rolled_back(world: World) -> None:
    cats = steady(world, "broken")
    old = cats.served()
    cats.offer()
    cats.until("pin-added")
    # The first thing that it is asked to score with the new certificate fails.
    world.plane.admin(cats.id, {"faults": {"fail_next": 1, "fail_with": "INTERNAL"}})

    cats.until("certificate-rolled-back")

    assert cats.kinds == [
        *("pin-added", "update-sent", "verification-failed"),
        *("update-sent", "certificate-rolled-back", "rotation-stopped"),
    ]
    assert cats.served() == old
    assert "The inference service failed" in stopped(cats, Reason.VERIFICATION_FAILED)
    assert cats.updates() == 2


def test_a_rollback_that_fails(world: World) -> None:
    cats = steady(world, "stuck")
    cats.offer()
    cats.until("pin-added")
    # Whatever the certificate: the service scores nonsense.
    world.plane.admin(cats.id, {"faults": {"answer": "nan"}})

    assert "values that are not numbers" in stopped(cats, Reason.ROLLBACK_FAILED)
    assert cats.updates() == 2


def test_a_key_that_an_update_changed_reaches_the_vault(world: World) -> None:
    """The documentation leaves open what an update does to the keys: whatever it does, nobody is shut out."""
    cats = steady(world, "careless")
    cats.offer()
    cats.until("pin-added")
    world.plane.call("POST", f"/services/{cats.id}/regenerateKeys")

    cats.until("certificate-rotated")

    primary, secondary = world.plane.keys({"id": cats.id})
    assert cats.vault.read("careless-primary-key").value == primary
    assert cats.vault.read("careless-secondary-key").value == secondary


def test_both_keys_are_rotated_one_after_the_other(world: World) -> None:
    cats = steady(world, "keys")
    before = world.plane.keys({"id": cats.id})

    cats.rotator().tick(LONG, rotate_keys=True)
    cats.until("key-regenerated")
    between = world.plane.keys({"id": cats.id})
    cats.until("keys-rotated")
    after = world.plane.keys({"id": cats.id})

    assert cats.kinds == ["key-rotation-requested", "key-regenerated", "key-regenerated", "keys-rotated"]
    # The secondary first: the primary was the one in use.
    assert (between[0] == before[0], between[1] == before[1]) == (True, False)
    assert (after[0] == before[0], after[1] == between[1]) == (False, True)
    assert cats.vault.read("keys-primary-key").value == after[0]
    assert cats.vault.read("keys-secondary-key").value == after[1]


def test_no_key_is_regenerated_while_the_other_one_is_refused(world: World) -> None:
    cats = steady(world, "refused-keys")
    keys = world.plane.keys({"id": cats.id})
    world.plane.admin(cats.id, {"faults": {"fail_next": 1_000, "fail_with": "UNAUTHENTICATED"}})

    with pytest.raises(KeysRefused):  # noqa: PT012 - in which tick is a matter of time
        cats.rotator().tick(LONG, rotate_keys=True)
        cats.until("key-regenerated")

    assert world.plane.keys({"id": cats.id}) == keys


def test_keys_of_an_age_are_rotated(world: World) -> None:
    cats = steady(world, "old-keys")
    assert cats.rotator(key_days=1).tick(LONG).note.keys is None

    cats.parties = type(cats.parties)(**{**vars(cats.parties), "clock": lambda: time.time() + 2 * 86_400})
    cats.rotator(key_days=1, lease_seconds=3 * 86_400).tick(LONG)

    assert "key-regenerated" in cats.kinds


def test_a_certificate_that_nears_its_end_is_warned_of_once(world: World) -> None:
    ending = world.authority.issue(["127.0.0.1"], valid_for=20 * DAY)
    cats = world.service("ending", ending)

    cats.until("certificate-expiring")
    for _ in range(3):
        cats.rotator().tick(LONG)

    warnings = [event for event in cats.events if event.kind == "certificate-expiring"]
    assert [event.data["days"] for event in warnings] == [pytest.approx(20, abs=0.1)]


def test_a_note_that_somebody_broke_is_made_anew(world: World) -> None:
    cats = steady(world, "forgetful")
    world.vault.set("forgetful-rotation", "nonsense")

    cats.until("certificate-verified")

    assert isinstance(cats.rotator().look().step, Nothing)


def test_an_authority_that_a_person_pinned_stays(world: World) -> None:
    cats = steady(world, "authority")
    world.vault.set("authority-pins", cats.first.certificate.decode() + world.authority.pem.decode())
    cats.offer()

    cats.until("old-pins-dropped")

    assert len(cats.pinned()) == 2
