"""Updates: what they change of a running service, and what they leave alone."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from devstack.authority import Authority, Issued, fingerprint
from tests.devstack.control.plane import Json, Plane, eventually, fails_with, predict

KEYS = {"primaryKey": "one", "secondaryKey": "two"}


@pytest.fixture
def fresh(plane: Plane) -> Issued:
    """A certificate that nothing serves yet."""
    return plane.files.authority.issue()


def served(plane: Plane, service: Json) -> str:
    print_of: str = plane.admin(service["name"])["fingerprint"]
    return print_of


def test_without_keys_both_stay_as_they_are(plane: Plane, certificate: Issued) -> None:
    service = plane.create("keys-absent", certificate, keys=KEYS)

    assert plane.ended(plane.update(service))["state"] == "Succeeded"

    assert plane.keys(service) == ("one", "two")


@pytest.mark.parametrize(
    "keys",
    [{"primaryKey": "new", "secondaryKey": None}, {"primaryKey": "new"}],
    ids=["null", "absent"],
)
def test_a_key_that_is_null_is_generated_anew(plane: Plane, keys: Json) -> None:
    service = plane.create(f"key-{len(keys)}", keys=KEYS)

    assert plane.ended(plane.update(service, keys=keys))["state"] == "Succeeded"

    primary, secondary = plane.keys(service)
    assert primary == "new"
    assert secondary not in ("two", "None", "")


def test_null_keys_are_both_generated_anew(plane: Plane) -> None:
    service = plane.create("keys-null", keys=KEYS)

    assert plane.ended(plane.update(service, keys=None))["state"] == "Succeeded"

    assert not {"one", "two"} & set(plane.keys(service))


def test_keys_are_exchanged_under_open_connections(plane: Plane, certificate: Issued) -> None:
    service = plane.create("keys-given", certificate, keys=KEYS)
    with plane.channel(service, certificate.certificate) as channel:
        assert predict(channel, "one")

        plane.ended(plane.update(service, keys={"primaryKey": "three", "secondaryKey": "two"}))

        assert predict(channel, "three")
        assert predict(channel, "two")
        assert fails_with(channel, "one") is grpc.StatusCode.UNAUTHENTICATED


def test_a_key_that_no_caller_could_send_fails_the_operation(plane: Plane) -> None:
    service = plane.create("unsendable", keys=KEYS)

    operation = plane.ended(plane.update(service, keys={"primaryKey": "schlüssel", "secondaryKey": "two"}))

    assert operation["state"] == "Failed"
    assert "schl" not in operation["error"]["message"]
    assert plane.keys(service) == ("one", "two")


def test_a_hot_swap_leaves_open_connections_and_serves_new_ones(
    plane: Plane, certificate: Issued, fresh: Issued
) -> None:
    service = plane.create("hot", certificate, keys=KEYS)
    with plane.channel(service, certificate.certificate) as old:
        assert predict(old, "one")

        assert plane.ended(plane.update(service, fresh))["state"] == "Succeeded"

        assert predict(old, "one")
    assert plane.predict(service, "one", fresh.certificate)
    assert served(plane, service) == fingerprint(fresh.certificate)
    with plane.channel(service, certificate.certificate) as pinned_to_the_old:
        assert fails_with(pinned_to_the_old, "one") is grpc.StatusCode.UNAVAILABLE


def test_a_restart_drops_every_connection(plane: Plane, certificate: Issued, fresh: Issued) -> None:
    service = plane.create("restarted", certificate, keys=KEYS)
    assert plane.admin("restarted", {"swap": "restart"})["swap"] == "restart"
    with plane.channel(service, certificate.certificate) as old:
        assert predict(old, "one")

        assert plane.ended(plane.update(service, fresh))["state"] == "Succeeded"

        # It has to connect again, and meets a certificate that it does not know.
        assert fails_with(old, "one") is grpc.StatusCode.UNAVAILABLE
    after = plane.get(f"/services/{service['id']}")
    assert after["port"] == service["port"]
    assert plane.predict(after, "one", fresh.certificate)


@pytest.mark.parametrize("swap", ["hot", "restart"])
@pytest.mark.parametrize("damage", ["certificate", "key"])
def test_a_bad_pair_fails_the_operation_and_changes_nothing(
    plane: Plane, certificate: Issued, fresh: Issued, swap: str, damage: str
) -> None:
    name = f"bad-{swap}-{damage}"
    service = plane.create(name, certificate, keys=KEYS)
    plane.admin(name, {"swap": swap})
    stranger = Authority.create().issue()
    change = {"sslCertificate": "-----BEGIN"} if damage == "certificate" else {"sslKey": stranger.key.decode()}

    operation = plane.ended(plane.update(service, fresh, **change, keys={"primaryKey": "new", "secondaryKey": "newer"}))

    reason = "the certificate is not PEM" if damage == "certificate" else "the private key belongs to another"
    assert operation["state"] == "Failed"
    assert reason in operation["error"]["message"]
    assert plane.get(f"/services/{service['id']}") == service
    assert plane.keys(service) == ("one", "two")
    assert served(plane, service) == fingerprint(certificate.certificate)
    assert plane.predict(service, "one", certificate.certificate)


def test_tls_can_be_turned_on_and_off(plane: Plane, certificate: Issued) -> None:
    service = plane.create("switching", keys=KEYS)

    assert plane.ended(plane.update(service, certificate))["state"] == "Succeeded"
    assert plane.predict(service, "two", certificate.certificate)

    off: Json = {"sslEnabled": False, "sslCertificate": "", "sslKey": ""}
    assert plane.ended(plane.update(service, **off))["state"] == "Succeeded"
    assert plane.predict(service)


def test_updates_of_one_service_are_carried_out_in_their_order(plane: Plane) -> None:
    service = plane.create("queued", keys=KEYS)
    plane.switch({"mode": "slow", "delay": 0.2, "services": ["queued"], "count": 1})

    first = plane.update(service, keys={"primaryKey": "first", "secondaryKey": "x"})
    second = plane.update(service, keys={"primaryKey": "second", "secondaryKey": "x"})

    assert plane.state_of(second) == "NotStarted"
    assert plane.get(f"/services/{service['id']}")["state"] == "Updating"
    assert plane.ended(second)["state"] == "Succeeded"
    assert plane.ended(first)["state"] == "Succeeded"
    assert plane.keys(service) == ("second", "x")


def test_keys_regenerated_during_an_update_outlive_it(plane: Plane, certificate: Issued, fresh: Issued) -> None:
    service = plane.create("meanwhile", certificate, keys=KEYS)
    # A call under way, for whose end the restart waits a little.
    plane.admin("meanwhile", {"swap": "restart", "faults": {"hang": True}})
    with plane.channel(service, certificate.certificate) as channel, ThreadPoolExecutor(1) as callers:
        hanging = callers.submit(fails_with, channel, "one")
        eventually(lambda: plane.admin("meanwhile")["calls"] == 1)
        update = plane.update(service, fresh)
        eventually(lambda: plane.state_of(update) == "Running")

        new = plane.call("POST", f"/services/{service['id']}/regenerateKeys").json()

        assert plane.ended(update)["state"] == "Succeeded"
        assert hanging.result() is grpc.StatusCode.UNAVAILABLE
    assert plane.keys(service) == (new["primaryKey"], new["secondaryKey"])
    plane.admin("meanwhile", {"faults": {}})
    assert plane.predict(service, new["primaryKey"], fresh.certificate)
