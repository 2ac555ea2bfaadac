"""Rotations from end to end, with real servers. test_many.py has the ways in which a service cannot be rotated."""

import datetime as dt
import time
from dataclasses import replace

import pytest

from shared.errors import KeysRefused
from shared.rotation.decide import Nothing, Reason, Stop
from tests.support.rotation import LONG, RotatedService, RotationEnvironment

DAY = dt.timedelta(days=1)


def stopped(rotated: RotatedService, reason: Reason) -> str:
    """Run, and expect a stop for this reason; its message."""
    rotated.until("rotation-stopped")
    step = rotated.rotation().observe().step
    assert isinstance(step, Stop)
    assert step.reason is reason
    return step.message


def test_a_new_certificate_is_rotated_to(environment: RotationEnvironment) -> None:
    cats = environment.steady("cats")
    old = cats.served()
    cats.offer()

    cats.until("old-pins-dropped")

    assert cats.kinds == ["pin-added", "update-sent", "certificate-rotated", "old-pins-dropped"]
    assert cats.served() != old
    assert cats.pinned() == {cats.served()}
    assert cats.updates() == 1
    assert isinstance(cats.rotation().observe().step, Nothing)


def test_a_service_that_restarts_to_change_its_certificate(environment: RotationEnvironment) -> None:
    cats = environment.steady("restarting")
    environment.plane.admin(cats.id, {"swap": "restart"})
    cats.offer()

    cats.until("old-pins-dropped")

    assert cats.updates() == 1


def test_nothing_to_do_writes_nothing(environment: RotationEnvironment) -> None:
    cats = environment.steady("idle")
    before = cats.versions()

    for _ in range(5):
        cats.rotation().run(LONG)

    assert cats.versions() == before
    assert cats.events == []


def test_a_refused_certificate_changes_nothing(environment: RotationEnvironment) -> None:
    cats = environment.steady("refused")
    served, pinned = cats.served(), cats.pinned()
    cats.offer(environment.authority.issue(["127.0.0.1"], valid_for=6 * DAY))

    assert "within 7 days" in stopped(cats, Reason.CERTIFICATE_REFUSED)

    assert (cats.served(), cats.pinned(), cats.updates()) == (served, pinned, 0)
    assert cats.kinds == ["rotation-stopped"]
    # A valid one, and it resumes.
    cats.offer()
    cats.until("certificate-rotated")
    assert "rotation-resumed" in cats.kinds


def test_a_disabled_version_is_ignored(environment: RotationEnvironment) -> None:
    cats = environment.steady("disabled")
    time.sleep(1.1)  # versions are ordered by whole seconds
    cats.offer()
    newest = cats.vault.read("disabled-certificate").version
    cats.vault.renew("disabled-certificate", newest, enabled=False)

    assert isinstance(cats.rotation().run(LONG).step, Nothing)


def test_a_failed_update_is_retried_later(environment: RotationEnvironment) -> None:
    cats = environment.steady("failing")
    served = cats.served()
    environment.plane.set_faults({"mode": "fail", "services": ["failing"], "message": "no accelerator is free"})
    cats.offer()

    assert stopped(cats, Reason.UPDATE_FAILED) == "no accelerator is free"

    assert (cats.served(), cats.updates()) == (served, 1)
    environment.plane.set_faults()
    # The next attempt is in an hour, or on request.
    cats.rotation().run(LONG)
    assert cats.updates() == 1
    cats.rotation().run(LONG, retry=True)
    cats.until("certificate-rotated")


def test_a_service_that_flaps_writes_nothing(environment: RotationEnvironment) -> None:
    cats = environment.steady("flapping")
    before = cats.versions()
    moved = RotatedService(environment, replace(cats.settings, port=1), cats.id)
    for one in (moved, cats):
        one.interfaces = replace(one.interfaces, hold=cats.interfaces.hold)

    for _ in range(6):
        step = moved.rotation().run(LONG).step
        assert isinstance(step, Stop)
        assert step.reason is Reason.ENDPOINT_UNREACHABLE
        cats.rotation().run(LONG)

    assert cats.versions() == before
    assert [*moved.events, *cats.events] == []
    # What lasts is announced.
    moved.until("rotation-stopped")
    assert cats.versions()["rotation"] == before["rotation"] + 1
    cats.until("rotation-resumed")


def test_a_key_that_an_update_changed_reaches_the_vault(environment: RotationEnvironment) -> None:
    """The documentation leaves open what an update does to the keys: whatever it does, no gateway is locked out."""
    cats = environment.steady("careless")
    cats.offer()
    cats.until("pin-added")
    environment.plane.call("POST", f"/services/{cats.id}/regenerateKeys")

    cats.until("certificate-rotated")

    primary, secondary = environment.plane.keys({"id": cats.id})
    assert cats.vault.read("careless-primary-key").value == primary
    assert cats.vault.read("careless-secondary-key").value == secondary


def test_both_keys_are_rotated_one_after_the_other(environment: RotationEnvironment) -> None:
    cats = environment.steady("keys")
    before = environment.plane.keys({"id": cats.id})

    cats.rotation().run(LONG, rotate_keys=True)
    cats.until("key-regenerated")
    between = environment.plane.keys({"id": cats.id})
    cats.until("keys-rotated")
    after = environment.plane.keys({"id": cats.id})

    assert cats.kinds == ["key-rotation-requested", "key-regenerated", "key-regenerated", "keys-rotated"]
    # The secondary first: the primary was the one in use.
    assert (between[0] == before[0], between[1] == before[1]) == (True, False)
    assert (after[0] == before[0], after[1] == between[1]) == (False, True)
    assert cats.vault.read("keys-primary-key").value == after[0]
    assert cats.vault.read("keys-secondary-key").value == after[1]


def test_no_key_is_regenerated_while_the_other_one_is_refused(environment: RotationEnvironment) -> None:
    cats = environment.steady("refused-keys")
    keys = environment.plane.keys({"id": cats.id})
    environment.plane.admin(cats.id, {"faults": {"fail_next": 1_000, "fail_with": "UNAUTHENTICATED"}})

    with pytest.raises(KeysRefused):  # noqa: PT012 - which run it is depends on the time
        cats.rotation().run(LONG, rotate_keys=True)
        cats.until("key-regenerated")

    assert environment.plane.keys({"id": cats.id}) == keys


def test_old_keys_are_rotated(environment: RotationEnvironment) -> None:
    cats = environment.steady("old-keys")
    assert cats.rotation(key_days=1).run(LONG).persisted.keys is None

    cats.interfaces = type(cats.interfaces)(**{**vars(cats.interfaces), "clock": lambda: time.time() + 2 * 86_400})
    cats.rotation(key_days=1, lease_seconds=3 * 86_400).run(LONG)

    assert "key-regenerated" in cats.kinds


def test_the_expiry_of_a_certificate_is_announced_once(environment: RotationEnvironment) -> None:
    ending = environment.authority.issue(["127.0.0.1"], valid_for=20 * DAY)
    cats = environment.service("ending", ending)

    cats.until("certificate-expiring")
    for _ in range(3):
        cats.rotation().run(LONG)

    warnings = [event for event in cats.events if event.kind == "certificate-expiring"]
    assert [event.data["days"] for event in warnings] == [pytest.approx(20, abs=0.1)]


def test_an_authority_that_a_person_pinned_stays(environment: RotationEnvironment) -> None:
    cats = environment.steady("authority")
    environment.vault.set(
        "authority-pins", cats.vault.read("authority-pins").value + environment.authority.pem.decode()
    )
    cats.offer()

    cats.until("old-pins-dropped")

    assert len(cats.pinned()) == 2
