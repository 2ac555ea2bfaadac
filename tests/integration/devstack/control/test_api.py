"""The API beside what its client shows (tests of shared/control_plane): updates of running services, faults, errors."""

import re
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from devstack.authority import Authority, Issued, fingerprint
from tests.support.devstack.control_plane import (
    ACCOUNT,
    API,
    FAULTS,
    MANAGEMENT,
    ControlPlaneClient,
    Json,
    predict,
    predict_error,
    service_body,
)
from tests.support.devstack.processes import wait_until

KEYS = {"primaryKey": "one", "secondaryKey": "two"}


@pytest.fixture
def fresh(plane: ControlPlaneClient) -> Issued:
    """A certificate that nothing serves yet."""
    return plane.files.authority.issue()


@pytest.mark.parametrize("keys", [{"primaryKey": "new", "secondaryKey": None}, {"primaryKey": "new"}, None])
def test_a_key_that_is_null_or_absent_among_keys_is_generated(plane: ControlPlaneClient, keys: Json | None) -> None:
    service = plane.create(f"keys-{len(keys or ())}", keys=KEYS)

    assert plane.wait_for_end(plane.update(service, keys=keys))["state"] == "Succeeded"

    primary, secondary = plane.keys(service)
    assert secondary not in ("two", "None", "")
    assert (primary == "new") if keys else (primary not in ("one", "None", ""))


def test_keys_are_exchanged_under_open_connections(plane: ControlPlaneClient, certificate: Issued) -> None:
    service = plane.create("keys-given", certificate, keys=KEYS)
    with plane.channel(service, certificate.certificate) as channel:
        assert predict(channel, "one")

        plane.wait_for_end(plane.update(service, keys={"primaryKey": "three", "secondaryKey": "two"}))

        assert predict(channel, "three")
        assert predict(channel, "two")
        assert predict_error(channel, "one") is grpc.StatusCode.UNAUTHENTICATED


def test_a_hot_swap_leaves_open_connections(plane: ControlPlaneClient, certificate: Issued, fresh: Issued) -> None:
    service = plane.create("hot", certificate, keys=KEYS)
    with plane.channel(service, certificate.certificate) as old:
        assert predict(old, "one")

        assert plane.wait_for_end(plane.update(service, fresh))["state"] == "Succeeded"

        assert predict(old, "one")
    assert plane.predict(service, "one", fresh.certificate)
    assert plane.admin("hot")["fingerprint"] == fingerprint(fresh.certificate)
    with plane.channel(service, certificate.certificate) as pinned_to_the_old:
        assert predict_error(pinned_to_the_old, "one") is grpc.StatusCode.UNAVAILABLE


def test_a_restart_drops_every_connection(plane: ControlPlaneClient, certificate: Issued, fresh: Issued) -> None:
    service = plane.create("restarted", certificate, keys=KEYS)
    assert plane.admin("restarted", {"swap": "restart"})["swap"] == "restart"
    with plane.channel(service, certificate.certificate) as old:
        assert predict(old, "one")

        assert plane.wait_for_end(plane.update(service, fresh))["state"] == "Succeeded"

        # It must connect again, and does not trust the new certificate.
        assert predict_error(old, "one") is grpc.StatusCode.UNAVAILABLE
    after = plane.get(f"/services/{service['id']}")
    assert after["port"] == service["port"]
    assert plane.predict(after, "one", fresh.certificate)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("sslCertificate", "the certificate is not PEM"),
        ("sslKey", "the private key belongs to another"),
        ("keys", "the primary key must be printable ASCII"),
    ],
)
def test_an_invalid_update_fails_and_changes_nothing(
    plane: ControlPlaneClient, certificate: Issued, fresh: Issued, field: str, reason: str
) -> None:
    name = f"invalid-{field}"
    service = plane.create(name, certificate, keys=KEYS)
    values = {"sslCertificate": "-----BEGIN", "sslKey": Authority.create().issue().key.decode()}
    values["keys"] = {"primaryKey": "schlüssel", "secondaryKey": "two"}  # type: ignore[assignment] # of another type
    change = {"keys": {"primaryKey": "new", "secondaryKey": "newer"}, field: values[field]}

    operation = plane.wait_for_end(plane.update(service, fresh, **change))

    assert (operation["state"], reason in operation["error"]["message"]) == ("Failed", True)
    assert "schl" not in operation["error"]["message"]
    assert plane.get(f"/services/{service['id']}") == service
    assert plane.keys(service) == ("one", "two")
    assert plane.admin(name)["fingerprint"] == fingerprint(certificate.certificate)
    assert plane.predict(service, "one", certificate.certificate)


def test_keys_regenerated_during_an_update_are_kept(
    plane: ControlPlaneClient, certificate: Issued, fresh: Issued
) -> None:
    service = plane.create("meanwhile", certificate, keys=KEYS)
    # The restart waits a little for a call that hangs.
    plane.admin("meanwhile", {"swap": "restart", "faults": {"hang": True}})
    with plane.channel(service, certificate.certificate) as channel, ThreadPoolExecutor(1) as callers:
        hanging = callers.submit(predict_error, channel, "one")
        wait_until(lambda: plane.admin("meanwhile")["calls"] == 1, "the call arrives")
        update = plane.update(service, fresh)
        wait_until(lambda: plane.state_of(update) == "Running", "the update runs")

        new = plane.call("POST", f"/services/{service['id']}/regenerateKeys").json()

        assert plane.wait_for_end(update)["state"] == "Succeeded"
        assert hanging.result() is grpc.StatusCode.UNAVAILABLE
    assert plane.keys(service) == (new["primaryKey"], new["secondaryKey"])
    plane.admin("meanwhile", {"faults": {}})
    assert plane.predict(service, new["primaryKey"], fresh.certificate)


def test_a_fault_hits_the_named_services_and_calls(plane: ControlPlaneClient) -> None:
    hit, other = plane.create("hit"), plane.create("other")
    accepted = plane.update(hit)
    plane.wait_for_end(accepted)

    def status(path: str, method: str = "GET", **query: str) -> int:
        return plane.call(method, path, service_body(name="hit-too"), **query).status_code

    plane.set_faults({"mode": "unauthorized", "services": ["hit"], "calls": ["get", "keys"], "count": 2})
    assert [status("/services"), status(f"/services/{other['id']}")] == [200, 200]
    assert plane.http.get(FAULTS).json()["faults"][0]["count"] == 2
    assert [status(f"/services/{hit['id']}/keys"), status(f"/services/{hit['id']}")] == [401, 401]
    assert status(f"/services/{hit['id']}") == 200
    # Without calls, all that concern the service: by its name, its id, and its operations.
    plane.set_faults({"mode": "unavailable", "retry_after": 3, "services": ["hit", "hit-too"]})
    answer = plane.http.get(accepted.headers["Operation-Location"], params={"api-version": "2018-04-01-preview"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert [status("/services", serviceName="hit"), status("/services", "POST")] == [503, 503]
    assert plane.http.delete(FAULTS).json() == {"faults": []}


def test_updates_run_in_order_and_a_newer_one_cancels_a_hanging_one(plane: ControlPlaneClient) -> None:
    service = plane.create("queued", keys=KEYS)
    plane.set_faults({"mode": "slow", "delay": 0.2, "count": 1}, {"mode": "hang", "count": 2})

    updates = [plane.update(service, keys={"primaryKey": f"key-{number}"}) for number in range(3)]

    assert plane.state_of(updates[1]) == "NotStarted"
    assert plane.get(f"/services/{service['id']}")["state"] == "Updating"
    wait_until(lambda: plane.state_of(updates[2]) == "Running", "the last update hangs")
    updates.append(plane.update(service, keys={"primaryKey": "key-3"}))
    states = [plane.wait_for_end(each)["state"] for each in updates]
    assert states == ["Succeeded", "Cancelled", "Cancelled", "Succeeded"]
    assert plane.keys(service)[0] == "key-3"


DISCOVERY = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resource{}roups/scoring-gateway"
    "/providers/Microsoft.MachineLearningModelManagement/accounts/local"
)


def error(answer: httpx.Response) -> tuple[int, str]:
    """The status and the message of an error body, whose form is checked."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].keys() == {"code", "message", "details"}
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize("letter", ["g", "G"])
def test_discovery_names_the_host_of_the_request(plane: ControlPlaneClient, letter: str) -> None:
    answer = plane.http.get(DISCOVERY.format(letter), params={"api-version": "2017-09-01-preview"}).json()

    location = answer["properties"]["modelManagementSwaggerLocation"]
    assert location.startswith(f"{str(plane.http.base_url).rstrip('/')}/")
    assert error(plane.http.get(DISCOVERY.format(letter), params=API))[0] == 400


@pytest.mark.parametrize(
    ("resource", "claims", "status"),
    [
        ("https://management.azure.com", {}, 200),
        (MANAGEMENT, {}, 200),
        ("https://management.core.windows.net/", {}, 200),
        ("https://management.core.windows.net", {}, 200),
        ("https://vault.azure.net", {}, 401),
        ("https://management.core.windows.net.evil.example/", {}, 401),
        ("https://management.azure.com.evil.example/", {}, 401),
        (MANAGEMENT, {"lifetime": -1}, 401),
        (MANAGEMENT, {"key": bytes(32)}, 401),
    ],
)
def test_a_token_must_be_valid_and_for_this_audience(
    plane: ControlPlaneClient, resource: str, claims: Json, status: int
) -> None:
    header = {"Authorization": f"Bearer {plane.files.token(resource, **claims)}"}

    for path in (f"{ACCOUNT}/services", "/_devstack/faults"):
        answer = plane.http.get(path, params=API, headers=header)
        assert answer.status_code == status
        assert answer.headers.get("WWW-Authenticate", "Bearer ").startswith("Bearer ")
    assert error(plane.http.get(f"{ACCOUNT}/services", params=API, headers={"Authorization": ""}))[0] == 401


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("PATCH", "/services/x", {}, 405),
        ("GET", "/services/none", {}, 404),
        ("PUT", "/services/none", {}, 404),
        ("GET", "/operations/none", {}, 404),
        ("GET", "/services", {"api-version": "2019-01-01"}, 400),
        ("GET", "/services", {"$skiptoken": "W10"}, 400),
    ],
)
def test_errors_have_a_json_body(
    plane: ControlPlaneClient, method: str, path: str, query: dict[str, str], status: int
) -> None:
    assert error(plane.call(method, path, service_body() if method == "PUT" else None, **query))[0] == status


def test_an_invalid_certificate_fails_the_operation_and_never_opens_a_port(
    plane: ControlPlaneClient, certificate: Issued
) -> None:
    broken = {**service_body(certificate, name="broken"), "sslCertificate": "no PEM"}

    accepted = plane.call("POST", "/services", broken)
    operation = plane.wait_for_end(accepted)

    (service,) = plane.get("/services", serviceName="broken")["value"]
    assert re.fullmatch(rf"{ACCOUNT}/operations/\w+", accepted.headers["Operation-Location"])
    assert operation["resourceLocation"] == f"{ACCOUNT}/services/{service['id']}"
    assert (operation["operationType"], operation["state"]) == ("CreateService", "Failed")
    assert operation["error"]["message"] == "The service cannot be deployed: the certificate is not PEM."
    assert (service["state"], service["port"], service["error"]) == ("Failed", None, operation["error"])
    # An update without ssl fields does not start it without TLS; one with a certificate repairs it.
    assert plane.wait_for_end(plane.update(service))["state"] == "Failed"
    assert plane.wait_for_end(plane.update(service, certificate))["state"] == "Succeeded"
    repaired = plane.get(f"/services/{service['id']}")
    assert len(plane.predict(repaired, plane.keys(service)[0])) == 1000
