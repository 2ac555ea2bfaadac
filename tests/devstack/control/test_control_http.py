"""The Model Management API, route by route, over HTTP against the real process."""

import re
from typing import Any

import httpx
import pytest

from devstack.authority import Issued
from tests.devstack.control.plane import ACCOUNT, API, Json, Plane, wanted

DISCOVERY = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resource{}roups/scoring-gateway"
    "/providers/Microsoft.MachineLearningModelManagement/accounts/local"
)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the message of a body of the right form."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].keys() == {"code", "message", "details"}
    return answer.status_code, answer.json()["error"]["message"]


# Discovery.


@pytest.mark.parametrize("letter", ["g", "G"])
def test_discovery_names_the_host_that_was_asked(plane: Plane, letter: str) -> None:
    answer = plane.http.get(DISCOVERY.format(letter), params={"api-version": "2017-09-01-preview"}).json()

    location = answer["properties"]["modelManagementSwaggerLocation"]
    assert answer["location"] == "local"
    assert location.startswith(f"{str(plane.http.base_url).rstrip('/')}/")


def test_discovery_has_an_api_version_of_its_own(plane: Plane) -> None:
    status, message = error_of(plane.http.get(DISCOVERY.format("g"), params=API))

    assert (status, "2017-09-01-preview" in message) == (400, True)


# What every route asks for.


@pytest.mark.parametrize("version", [None, "2019-01-01", ""])
def test_the_api_version_must_be_the_one(plane: Plane, version: str | None) -> None:
    query = {} if version is None else {"api-version": version}

    status, message = error_of(plane.http.get(f"{ACCOUNT}/services", params=query))

    assert (status, "2018-04-01-preview" in message) == (400, True)


@pytest.mark.parametrize("path", ["/services", "/services/x", "/services/x/keys", "/operations/x", "/models"])
def test_no_token_no_answer(plane: Plane, path: str) -> None:
    answer = plane.http.get(ACCOUNT + path, params=API, headers={"Authorization": ""})

    assert error_of(answer)[0] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_the_admin_routes_ask_for_a_token_too(plane: Plane) -> None:
    for path in ("/_devstack/faults", "/_devstack/services/x"):
        assert error_of(plane.http.delete(path, headers={"Authorization": "Bearer x"}))[0] == 401


@pytest.mark.parametrize(
    ("resource", "status"),
    [
        ("https://management.azure.com", 200),
        ("https://management.azure.com/", 200),
        ("https://vault.azure.net", 401),
        ("https://management.azure.com.evil.example/", 401),
    ],
)
def test_a_token_must_be_for_this_audience(plane: Plane, resource: str, status: int) -> None:
    token = plane.files.token(resource)

    answer = plane.http.get(f"{ACCOUNT}/services", params=API, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == status


def test_an_expired_token_is_refused(plane: Plane) -> None:
    token = plane.files.token(lifetime=-1)

    answer = plane.http.get(f"{ACCOUNT}/services", params=API, headers={"Authorization": f"Bearer {token}"})

    assert error_of(answer) == (401, "The token does not hold (expired).")


def test_every_answer_has_an_id_that_the_server_made(plane: Plane) -> None:
    answers = [plane.call("GET", "/services"), plane.call("GET", "/services/none"), plane.call("GET", "/services")]

    ids = {answer.headers["x-ms-client-request-id"] for answer in answers}

    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)


def test_another_account_is_not_found(plane: Plane) -> None:
    path = ACCOUNT.replace("/accounts/local", "/accounts/other")

    assert error_of(plane.http.get(f"{path}/services", params=API))[0] == 404


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/services/x", 405)])
def test_an_unknown_route_is_answered_in_json(plane: Plane, method: str, path: str, status: int) -> None:
    assert error_of(plane.call(method, path))[0] == status


# Creating.


def test_a_service_with_tls_serves_it_and_takes_its_keys(plane: Plane, certificate: Issued) -> None:
    keys = {"primaryKey": "first", "secondaryKey": "second"}

    service = plane.create("with-tls", certificate, keys=keys)

    assert (service["state"], service["sslEnabled"], service["modelId"]) == ("Succeeded", True, "imagenet")
    assert plane.keys(service) == ("first", "second")
    assert len(plane.predict(service, "first", certificate.certificate)) == 1000
    assert len(plane.predict(service, "second", certificate.certificate)) == 1000


def test_a_service_without_tls_asks_for_no_key(plane: Plane) -> None:
    service = plane.create("plain")

    assert service["sslEnabled"] is False
    assert len(plane.predict(service)) == 1000


def test_a_service_tells_no_secret_of_itself(plane: Plane, certificate: Issued) -> None:
    service = plane.create("discreet", certificate, keys={"primaryKey": "hush-one", "secondaryKey": "hush-two"})

    text = plane.call("GET", f"/services/{service['id']}").text + plane.call("GET", "/services").text

    assert not re.search("hush|BEGIN", text)


def test_without_keys_both_are_generated(plane: Plane) -> None:
    one, two = plane.keys(plane.create("generated"))

    assert one != two
    assert min(len(one), len(two)) >= 32


def test_a_name_in_use_is_a_conflict(plane: Plane) -> None:
    plane.create("taken")

    assert error_of(plane.call("POST", "/services", wanted(name="taken"))) == (
        409,
        "The name taken is in use by another service.",
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"computeType": "CPU"}, "computeType"),
        ({"numReplicas": 2}, "numReplicas"),
        ({"modelId": "unheard-of"}, "unheard-of"),
        ({"modelId": None}, "modelId"),
        ({"name": "spaces in it"}, "name"),
        ({"name": None}, "name"),
        ({"keys": "key"}, "keys"),
        ({"keys": {"primaryKey": 1}}, "primaryKey"),
        ({"sslEnabled": "yes"}, "sslEnabled"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(plane: Plane, change: Json, word: str) -> None:
    status, message = error_of(plane.call("POST", "/services", {**wanted(name="wrong"), **change}))

    assert (status, word in message) == (400, True), message
    assert plane.get("/services", serviceName="wrong")["value"] == []


@pytest.mark.parametrize("missing", ["sslEnabled", "sslCertificate", "sslKey"])
def test_the_ssl_fields_come_together(plane: Plane, missing: str) -> None:
    document = wanted(name="partly")
    del document[missing]

    status, message = error_of(plane.call("POST", "/services", document))

    assert (status, "together" in message) == (400, True)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"name": "\\ud800"}'])
def test_a_body_that_is_no_object_is_refused(plane: Plane, body: bytes) -> None:
    answer = plane.http.post(f"{ACCOUNT}/services", params=API, content=body)

    assert error_of(answer)[0] == 400


def test_a_bad_certificate_fails_the_operation_and_never_opens_a_port(plane: Plane, certificate: Issued) -> None:
    broken = {**wanted(certificate, name="broken"), "sslCertificate": "no PEM"}

    operation = plane.ended(plane.call("POST", "/services", broken))

    (service,) = plane.get("/services", serviceName="broken")["value"]
    assert operation["state"] == "Failed"
    assert operation["error"]["message"] == "The service cannot be deployed: the certificate is not PEM."
    assert (service["state"], service["port"]) == ("Failed", None)
    assert service["error"] == operation["error"]

    # An update that says nothing of TLS does not put it into service in the clear.
    assert plane.ended(plane.update(service))["state"] == "Failed"
    # One with a certificate repairs it.
    assert plane.ended(plane.update(service, certificate))["state"] == "Succeeded"
    repaired = plane.get(f"/services/{service['id']}")
    assert len(plane.predict(repaired, plane.keys(service)[0])) == 1000


# Operations.


def test_an_operation_is_told_by_paths_without_host_and_query(plane: Plane) -> None:
    accepted = plane.call("POST", "/services", wanted(name="followed"))
    operation = plane.ended(accepted)

    assert re.fullmatch(rf"{ACCOUNT}/operations/\w+", accepted.headers["Operation-Location"])
    assert re.fullmatch(rf"{ACCOUNT}/services/\w+", operation["resourceLocation"])
    assert (operation["operationType"], operation["state"]) == ("CreateService", "Succeeded")


def test_an_unknown_operation_is_not_found(plane: Plane) -> None:
    assert error_of(plane.call("GET", "/operations/none"))[0] == 404


# Listing.


def test_a_list_comes_in_pages_from_the_very_host_that_was_asked(plane: Plane) -> None:
    names = {f"listed-{number}" for number in range(5)}
    for name in names:
        plane.create(name)
    base = f"https://localhost:{plane.http.base_url.port}"
    url, found, pages = f"{base}{ACCOUNT}/services?api-version={API['api-version']}", [], 0

    while url:
        page = plane.http.get(url).raise_for_status().json()
        pages += 1
        assert len(page["value"]) <= 2
        found += [service["name"] for service in page["value"]]
        url = page.get("nextLink", "")
        assert not url or url.startswith(f"{base}/")

    assert names <= set(found)
    assert len(found) == len(set(found)) > 2 * (pages - 1)


def test_a_service_is_found_by_its_name(plane: Plane) -> None:
    service = plane.create("by-name")

    assert plane.get("/services", serviceName="by-name") == {"value": [service]}
    assert plane.get("/services", serviceName="by-nam") == {"value": []}


@pytest.mark.parametrize("token", ["x", "W10", "eyJhIjoxfQ"])
def test_a_made_up_skip_token_is_refused(plane: Plane, token: str) -> None:
    assert error_of(plane.call("GET", "/services", **{"$skiptoken": token}))[0] == 400


# Keys.


def test_keys_are_regenerated_one_by_one_or_together(plane: Plane, certificate: Issued) -> None:
    service = plane.create("rekeyed", certificate, keys={"primaryKey": "one", "secondaryKey": "two"})
    path = f"/services/{service['id']}/regenerateKeys"

    first = plane.call("POST", path, {"keyType": "Primary"}).raise_for_status().json()
    assert first["primaryKey"] != "one"
    assert first["secondaryKey"] == "two"
    second = plane.call("POST", path, {"keyType": "Secondary"}).raise_for_status().json()
    assert second["primaryKey"] == first["primaryKey"]
    assert second["secondaryKey"] != "two"
    both = plane.call("POST", path).raise_for_status().json()
    assert not set(both.values()) & set(second.values())

    assert plane.keys(service) == (both["primaryKey"], both["secondaryKey"])
    assert len(plane.predict(service, both["primaryKey"])) == 1000


def test_no_other_key_can_be_regenerated(plane: Plane) -> None:
    path = f"/services/{plane.create('tertiary')['id']}/regenerateKeys"

    assert error_of(plane.call("POST", path, {"keyType": "Tertiary"}))[0] == 400


# Deleting.


def test_a_deleted_service_is_gone_and_its_name_is_free(plane: Plane) -> None:
    service = plane.create("short-lived")

    operation = plane.ended(plane.call("DELETE", f"/services/{service['id']}"))

    assert operation["state"] == "Succeeded"
    assert operation["resourceLocation"].endswith(service["id"])
    assert error_of(plane.call("GET", f"/services/{service['id']}"))[0] == 404
    assert error_of(plane.call("DELETE", f"/services/{service['id']}"))[0] == 404
    assert plane.create("short-lived")["id"] != service["id"]


def test_what_is_not_there_is_not_found(plane: Plane) -> None:
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/services/none", None),
        ("PUT", "/services/none", wanted()),
        ("GET", "/services/none/keys", None),
        ("POST", "/services/none/regenerateKeys", None),
        ("DELETE", "/models/none", None),
    ]
    for method, path, document in calls:
        assert error_of(plane.call(method, path, document))[0] == 404
