"""Faults on demand, as a caller of the control plane meets them."""

from typing import Any

import grpc
import pytest

from devstack.authority import Issued, fingerprint
from devstack.control.errors import BadRequest
from devstack.control.faults import Fault, Faults
from tests.devstack.control.plane import FAULTS, Plane, eventually, fails_with, wanted

KEYS = {"primaryKey": "one", "secondaryKey": "two"}


# Faults of requests.


@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        ({"mode": "unauthorized"}, 401, None),
        ({"mode": "throttle", "retry_after": 7}, 429, "7"),
        ({"mode": "error"}, 500, None),
        ({"mode": "unavailable"}, 503, None),
        ({"mode": "unavailable", "retry_after": 3}, 503, "3"),
    ],
)
def test_a_request_is_refused_as_often_as_was_asked_for(
    plane: Plane, fault: dict[str, Any], status: int, wait: str | None
) -> None:
    plane.switch({**fault, "count": 2})

    answers = [plane.call("GET", "/services") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == [wait, wait, None]
    assert "error" in answers[0].json()


def test_a_fault_hits_the_named_services_and_calls_only(plane: Plane) -> None:
    hit, spared = plane.create("hit"), plane.create("spared")
    plane.switch({"mode": "error", "services": ["hit"], "calls": ["get", "keys"]})

    def status(path: str) -> int:
        return plane.call("GET", path).status_code

    assert status(f"/services/{hit['id']}") == 500
    assert status(f"/services/{hit['id']}/keys") == 500
    assert status(f"/services/{spared['id']}") == 200
    assert status("/services") == 200


def test_a_fault_of_a_service_follows_its_operations_and_its_name(plane: Plane) -> None:
    service = plane.create("pursued")
    accepted = plane.update(service)
    plane.ended(accepted)
    plane.switch({"mode": "error", "services": [service["id"]]})

    assert plane.http.get(accepted.headers["Operation-Location"], params={"api-version": "2018-04-01-preview"}).is_error
    plane.switch({"mode": "error", "services": ["pursued", "to-be"]})
    assert plane.call("GET", "/services", serviceName="pursued").is_error
    assert plane.call("POST", "/services", wanted(name="to-be")).is_error
    assert plane.get("/services", serviceName="hit-not") == {"value": []}


def test_a_lost_answer_belongs_to_a_request_that_was_carried_out(plane: Plane) -> None:
    plane.switch({"mode": "lost", "calls": ["create"], "count": 1})

    answer = plane.call("POST", "/services", wanted(name="made-all-the-same"))

    assert answer.status_code == 504
    (service,) = plane.get("/services", serviceName="made-all-the-same")["value"]
    assert service["state"] in ("Creating", "Succeeded")


# Faults of operations.


def test_the_next_updates_fail(plane: Plane, certificate: Issued) -> None:
    service = plane.create("failing", certificate, keys=KEYS)
    plane.switch({"mode": "fail", "count": 2, "services": ["failing"], "message": "out of boards"})
    fresh = plane.files.authority.issue()

    operations = [plane.ended(plane.update(service, fresh)) for _ in range(3)]

    assert [operation["state"] for operation in operations] == ["Failed", "Failed", "Succeeded"]
    assert operations[0]["error"]["message"] == "out of boards"


def test_a_stale_update_succeeds_but_serves_the_old_certificate(plane: Plane, certificate: Issued) -> None:
    service = plane.create("stale", certificate, keys=KEYS)
    plane.switch({"mode": "stale", "count": 1})
    fresh = plane.files.authority.issue()

    assert plane.ended(plane.update(service, fresh))["state"] == "Succeeded"

    assert plane.admin("stale")["fingerprint"] == fingerprint(certificate.certificate)
    assert plane.predict(service, "one", certificate.certificate)
    # The same update, once the fault is over, brings it.
    assert plane.ended(plane.update(service, fresh))["state"] == "Succeeded"
    assert plane.predict(service, "one", fresh.certificate)


def test_a_hanging_update_stays_running_until_the_fault_ends(plane: Plane) -> None:
    service = plane.create("hanging", keys=KEYS)
    plane.switch({"mode": "hang"})
    accepted = plane.update(service, keys={"primaryKey": "x", "secondaryKey": "y"})
    eventually(lambda: plane.state_of(accepted) == "Running")
    assert plane.get(f"/services/{service['id']}")["state"] == "Updating"

    plane.http.delete(FAULTS).raise_for_status()

    assert plane.ended(accepted)["state"] == "Cancelled"
    assert plane.keys(service) == ("one", "two")


def test_a_newer_update_takes_the_place_of_a_hanging_one(plane: Plane) -> None:
    service = plane.create("overtaken", keys=KEYS)
    plane.switch({"mode": "hang", "count": 1})
    hanging = plane.update(service)
    eventually(lambda: plane.state_of(hanging) == "Running")

    newer = plane.update(service, keys={"primaryKey": "new", "secondaryKey": "two"})

    assert plane.ended(newer)["state"] == "Succeeded"
    assert plane.ended(hanging)["state"] == "Cancelled"
    assert plane.keys(service) == ("new", "two")


def test_an_update_does_not_begin_to_hang_when_a_newer_one_waits_for_it(plane: Plane) -> None:
    service = plane.create("overtaken-early")
    plane.switch({"mode": "slow", "delay": 0.2, "count": 1}, {"mode": "hang", "count": 1})

    slow, hanging, newer = [plane.update(service) for _ in range(3)]

    assert [plane.ended(each)["state"] for each in (slow, hanging, newer)] == ["Succeeded", "Cancelled", "Succeeded"]


def test_a_hanging_creation_can_be_deleted(plane: Plane) -> None:
    plane.switch({"mode": "hang", "calls": ["create"], "count": 1})
    creation = plane.call("POST", "/services", wanted(name="unborn"))
    (service,) = plane.get("/services", serviceName="unborn")["value"]
    assert (service["state"], service["port"]) == ("Creating", None)

    assert plane.ended(plane.call("DELETE", f"/services/{service['id']}"))["state"] == "Succeeded"

    assert plane.ended(creation)["state"] == "Cancelled"
    assert plane.get("/services", serviceName="unborn") == {"value": []}


def test_a_slow_operation_is_under_way_for_a_while(plane: Plane) -> None:
    service = plane.create("slow", keys=KEYS)
    plane.switch({"mode": "slow", "delay": 0.3, "count": 1})

    accepted = plane.update(service, keys={"primaryKey": "x", "secondaryKey": "y"})

    assert plane.state_of(accepted) in ("NotStarted", "Running")
    assert plane.keys(service) == ("one", "two")
    assert plane.ended(accepted)["state"] == "Succeeded"
    assert plane.keys(service) == ("x", "y")


# The data plane's faults.


def test_the_data_plane_fails_on_demand(plane: Plane, certificate: Issued) -> None:
    service = plane.create("unwell", certificate, keys=KEYS)
    with plane.channel(service, certificate.certificate) as channel:
        told = plane.admin("unwell", {"faults": {"fail_next": 1, "fail_with": "RESOURCE_EXHAUSTED"}})
        assert told["faults"]["fail_next"] == 1
        assert fails_with(channel, "one") is grpc.StatusCode.RESOURCE_EXHAUSTED

        plane.admin("unwell", {"faults": {"answer": "missing_output"}})
        assert len(plane.predict(service, "one")) == 0
        # A restart of the service does not heal it.
        plane.admin("unwell", {"swap": "restart"})
        assert plane.ended(plane.update(service, plane.files.authority.issue()))["state"] == "Succeeded"
        assert len(plane.predict(service, "one")) == 0

        reset = plane.http.delete(f"/_devstack/services/{service['id']}").json()
        assert (reset["swap"], reset["faults"]["answer"]) == ("hot", "")
        assert len(plane.predict(service, "one")) == 1000


# The admin routes' own manners.


def test_what_is_switched_on_can_be_seen_with_what_is_left_of_it(plane: Plane) -> None:
    plane.switch({"mode": "error", "count": 3, "calls": ["list"]}, {"mode": "slow", "delay": 2})
    plane.call("GET", "/services")

    told = plane.http.get(FAULTS).json()["faults"]

    assert [(fault["mode"], fault["count"]) for fault in told] == [("error", 2), ("slow", None)]
    assert plane.http.delete(FAULTS).json() == {"faults": []}


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"mode": "explode"}, "mode"),
        ({}, "mode"),
        ([], "object"),
        ({"mode": "fail", "cuont": 1}, "cuont"),
        ({"mode": "fail", "count": 0}, "count"),
        ({"mode": "fail", "count": True}, "count"),
        ({"mode": "slow", "delay": -1}, "delay"),
        ({"mode": "throttle", "retry_after": 1.5}, "retry_after"),
        ({"mode": "fail", "message": 1}, "message"),
        ({"mode": "fail", "services": "one"}, "services"),
        ({"mode": "fail", "calls": ["updaet"]}, "calls"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(document: object, word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        Fault.parse(document)


def test_a_change_of_a_service_that_makes_no_sense_is_refused(plane: Plane) -> None:
    plane.create("unchanged")

    changes: list[dict[str, Any]] = [{"swap": "cold"}, {"faults": {"hangs": True}}, {"fault": {}}, {"faults": 1}]
    for document in changes:
        assert plane.http.put("/_devstack/services/unchanged", json=document).status_code == 400


def test_a_fault_of_operations_leaves_requests_alone_and_the_other_way_round() -> None:
    faults = Faults()
    faults.switch([Fault.parse({"mode": "fail", "count": 1}), Fault.parse({"mode": "error", "count": 1})])

    assert faults.take("create", (), operations=True) is None
    assert faults.take("get", (), operations=False) == Fault.parse({"mode": "error", "count": 1})
    assert faults.take("get", (), operations=False) is None
    assert faults.take("update", ("any",), operations=True) == Fault.parse({"mode": "fail", "count": 1})
    assert faults.describe() == []
