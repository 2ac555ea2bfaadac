"""The control plane's client with scripted responses: errors, broken connections, malformed content."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.authority import Authority
from shared import errors
from shared.control_plane.calls import Timing
from shared.control_plane.client import DeploymentClient
from shared.control_plane.types import ServerCertificate, ServiceKeys
from tests.support.control_planes import ACCOUNT, DROP, Credential, FakeTime, Json, Response, Script
from tests.support.devstack.processes import unused_port

SERVICE: Json = {
    "id": "s1",
    "name": "cats",
    "state": "Succeeded",
    "modelId": "m1",
    "sslEnabled": False,
    "ipAddress": "192.0.2.7",
    "port": 443,
    "createdAt": "2018-05-01T10:00:00Z",
    "somethingNew": True,
}
OPERATION = f"{ACCOUNT.path('operations')}/o1"
ACCEPTED = Response({}, 202, {"Operation-Location": OPERATION})
DONE = Response({"state": "Succeeded", "resourceLocation": f"{ACCOUNT.path('services')}/s1"})
NONE = Response({"value": []})
FOUND = Response({"value": [SERVICE]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted")
    authority = Authority.create()
    leaf = authority.issue()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "leaf.pem").write_bytes(leaf.chain)
    (folder / "leaf.key").write_bytes(leaf.key)
    return folder


@pytest.fixture
def script(folder: Path) -> Iterator[Script]:
    with Script(folder / "leaf.pem", folder / "leaf.key") as script:
        yield script


@pytest.fixture
def other_server(folder: Path) -> Iterator[Script]:
    """Another server, which must not receive requests."""
    with Script(folder / "leaf.pem", folder / "leaf.key") as script:
        yield script
        assert script.requests == []


@pytest.fixture
def client(script: Script, folder: Path, time: FakeTime) -> Iterator[DeploymentClient]:
    client = connect(script.url, folder, time.timing)
    yield client
    client.close()


def connect(url: str, folder: Path, timing: Timing) -> DeploymentClient:
    return DeploymentClient(
        ACCOUNT, Credential(bytes(32)), arm_endpoint=url, ca_file=str(folder / "ca.pem"), timing=timing
    )


# Requests.


def test_requests_have_the_headers_and_paths_of_the_contract(script: Script, client: DeploymentClient) -> None:
    script.responses = [NONE, ACCEPTED, DONE]
    client.list_services()
    client.delete_service("s/1?x")

    for request in (*script.discoveries, *script.requests):
        assert request.headers["authorization"].startswith("Bearer eyJ")
        assert request.headers["content-type"] == "application/json"
        assert "x-ms-client-request-id" not in request.headers
    (discovery,) = script.discoveries
    assert discovery.path == (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/scoring-gateway/providers/"
        "Microsoft.MachineLearningModelManagement/accounts/local?api-version=2017-09-01-preview"
    )
    query = "?api-version=2018-04-01-preview"
    assert [request.path for request in script.requests] == [
        f"{ACCOUNT.path('services')}{query}",
        f"{ACCOUNT.path('services')}/s%2F1%3Fx{query}",
        f"{OPERATION}{query}",
    ]


def test_an_update_omits_unchanged_members(script: Script, client: DeploymentClient) -> None:
    script.responses = [Response(SERVICE), ACCEPTED, DONE, Response(SERVICE)]

    client.update_service("s1")

    assert script.requests[1].document == {"computeType": "FPGA", "modelId": "m1", "numReplicas": 1}


def test_a_changed_key_is_sent_with_the_other_key(script: Script, client: DeploymentClient) -> None:
    known = Response({"primaryKey": "one", "secondaryKey": "two"})
    script.responses = [Response(SERVICE), known, ACCEPTED, DONE, Response(SERVICE)]

    client.update_service("s1", secondary_key="new")

    assert script.requests[2].document["keys"] == {"primaryKey": "one", "secondaryKey": "new"}


# Retries.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_transient_error_status_is_retried(
    script: Script, client: DeploymentClient, time: FakeTime, status: int
) -> None:
    script.responses = [Response(b"<html>", status), Response(b"", status), FOUND]

    assert client.get_service_by_name("cats")

    # The pauses double, and half of each is random.
    assert time.slept == [0.375, 0.75]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.ControlPlaneRefused),
        (401, errors.ControlPlaneRefused),
        (403, errors.ControlPlaneRefused),
        (404, errors.NotDeployed),
        (409, errors.ControlPlaneRefused),
        (501, errors.ControlPlaneUnreachable),
        (302, errors.InvalidControlPlaneResponse),
    ],
)
def test_other_error_statuses_are_not_retried(
    script: Script, client: DeploymentClient, status: int, kind: type[Exception]
) -> None:
    script.responses = [Response({"error": {"message": "because"}}, status, {"Location": "/away"}), FOUND]

    with pytest.raises(kind, match=rf"Cannot look cats up\. The control plane responded with {status}: because"):
        client.get_service_by_name("cats")

    assert len(script.requests) == 1


def test_a_broken_connection_is_retried(script: Script, client: DeploymentClient) -> None:
    truncated = Response(b'{"val', headers={"Content-Length": "100"})
    script.responses = [DROP, truncated, FOUND]

    assert client.get_service_by_name("cats")


def test_a_deletion_is_successful_if_the_service_is_not_found_after_a_lost_response(
    script: Script, client: DeploymentClient
) -> None:
    not_found = Response({}, 404)
    script.responses = [DROP, not_found]
    client.delete_service("s1")

    script.responses = [not_found]
    with pytest.raises(errors.NotDeployed):
        client.delete_service("s1")


def test_an_unreachable_control_plane_is_retried_until_the_deadline(folder: Path, time: FakeTime) -> None:
    port = unused_port()
    client = connect(f"https://127.0.0.1:{port}", folder, time.timing)

    with pytest.raises(errors.ControlPlaneUnreachable, match="cannot be reached") as caught:
        client.list_services(deadline=10)

    assert len(time.slept) > 2
    assert 5 < time.now <= 10
    assert str(port) not in str(caught.value)
    client.close()


def test_a_moved_control_plane_is_discovered_again(script: Script, folder: Path, client: DeploymentClient) -> None:
    with Script(folder / "leaf.pem", folder / "leaf.key") as first:
        script.location = f"{first.url}/swagger.json"
        first.responses = [NONE]
        client.list_services()
    with pytest.raises(errors.ControlPlaneUnreachable):
        client.list_services(deadline=1)

    script.location, script.responses = "", [FOUND]

    assert [service.name for service in client.list_services()] == ["cats"]


def test_a_slow_response_ends_at_the_deadline(script: Script, folder: Path) -> None:
    client = connect(script.url, folder, Timing())
    script.responses = [NONE, Response(b" " * 12, drip=True)]
    client.list_services()

    with pytest.raises(errors.ControlPlaneUnreachable, match="did not end in time"):
        client.list_services(deadline=0.25)
    client.close()


# Creations without a response.


def test_a_creation_is_sent_once_and_its_service_found_by_name(script: Script, client: DeploymentClient) -> None:
    creating = {**SERVICE, "state": "Creating", "port": None}
    script.responses = [NONE, DROP, NONE, Response({"value": [creating]}), Response(creating), Response(SERVICE)]

    assert client.create_service("cats", "m1").id == "s1"

    assert script.methods() == ["GET", "POST", "GET", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    ("response", "cause"),
    [(DROP, ""), *((Response({}, status), f"responded with {status}") for status in (500, 502, 503, 408))],
)
def test_a_creation_whose_service_is_not_found_is_not_sent_again(
    script: Script, client: DeploymentClient, response: Response, cause: str
) -> None:
    script.responses = [NONE, response, *[NONE] * 10]

    with pytest.raises(errors.OutcomeUnknown, match=f"create cats .*{cause}"):
        client.create_service("cats", "m1")

    assert script.methods().count("POST") == 1


@pytest.mark.parametrize(
    "found", [{**SERVICE, "modelId": "m2"}, {**SERVICE, "sslEnabled": True}, {**SERVICE, "id": "other keys"}]
)
def test_a_service_of_the_same_name_with_other_properties_is_not_the_created_one(
    script: Script, client: DeploymentClient, found: Json
) -> None:
    keys = Response({"primaryKey": "x", "secondaryKey": "y"})
    script.responses = [NONE, DROP, Response({"value": [found]}), keys]

    with pytest.raises(errors.NameInUse):
        client.create_service("cats", "m1", keys=ServiceKeys("one", "two"))


def test_a_conflict_on_creation_is_a_name_in_use(script: Script, client: DeploymentClient) -> None:
    script.responses = [NONE, Response({}, 409)]

    with pytest.raises(errors.NameInUse):
        client.create_service("cats", "m1")


def test_a_list_that_the_server_does_not_filter_is_searched(script: Script, client: DeploymentClient) -> None:
    script.responses = [Response({"value": [{**SERVICE, "name": "dogs"}, SERVICE]}), Response({"value": [SERVICE]})]

    found = client.get_service_by_name("cats")

    assert found
    assert found.name == "cats"
    assert client.get_service_by_name("birds") is None


# The token is only sent to one host.


def links(script: Script, other_server: Script) -> list[str]:
    own = script.url.removeprefix("https://")
    other = other_server.url.removeprefix("https://")
    return [
        f"https://{other}/services",
        f"https://{own}@{other}/services",
        f"https://{other}\\@{own}/services",
        f"http://{own}/services",
        f"//{other}/services",
        "/services?$skiptoken=x",
        "https://[",
    ]


def test_a_next_page_at_another_host_is_not_requested(
    script: Script, other_server: Script, client: DeploymentClient
) -> None:
    for link in links(script, other_server):
        script.requests.clear()
        script.responses = [Response({"value": [SERVICE], "nextLink": link}), NONE]

        with pytest.raises(errors.InvalidControlPlaneResponse, match="another host"):
            client.list_services()

        assert len(script.requests) == 1


def test_a_next_page_at_the_same_host_is_requested(script: Script, client: DeploymentClient) -> None:
    script.responses = [Response({"value": [SERVICE], "nextLink": f"{script.url.upper()}/next?$skiptoken=%20x"}), FOUND]
    script.responses[0].content["nextLink"] = script.responses[0].content["nextLink"].replace("/NEXT", "/next")

    assert len(client.list_services()) == 2
    assert script.requests[1].path.lower() == "/next?$skiptoken=%20x"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_a_token_or_a_private_key_elsewhere(
    script: Script, other_server: Script, client: DeploymentClient, status: int
) -> None:
    redirect = Response({}, status, {"Location": f"{other_server.url}/services/s1"})
    given = ServerCertificate("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----")

    script.responses = [Response(SERVICE), redirect]
    with pytest.raises(errors.GatewayError):
        client.update_service("s1", certificate=given)
    script.responses = [redirect]
    with pytest.raises(errors.InvalidControlPlaneResponse):
        client.list_services()


def test_an_operation_at_another_host_is_not_requested(
    script: Script, other_server: Script, client: DeploymentClient
) -> None:
    other = other_server.url.removeprefix("https:")
    for location in (other_server.url, other, f"/\\{other[2:]}", "/x?y", "operations/1", "/a b"):
        script.responses = [Response({}, 202, {"Operation-Location": location})]

        with pytest.raises(errors.InvalidControlPlaneResponse, match="Operation-Location"):
            client.delete_service("s1")


@pytest.mark.parametrize("location", ["http://localhost/x", "nonsense", "https://user@localhost/x", "https://"])
def test_a_discovered_location_without_tls_is_not_requested(
    script: Script, client: DeploymentClient, location: str
) -> None:
    script.location = location

    with pytest.raises(errors.InvalidControlPlaneResponse, match="https"):
        client.list_services()

    assert script.requests == []


def test_an_arm_endpoint_without_tls_is_rejected(folder: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        connect("http://localhost", folder, Timing())


# Malformed responses.


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"",
        b"[]",
        {},
        {"value": {}},
        {"value": ["x"]},
        {"value": [{**SERVICE, "id": 1}]},
        {"value": [{**SERVICE, "sslEnabled": "true"}]},
        {"value": [{**SERVICE, "port": True}]},
        {"value": [{**SERVICE, "createdAt": "yesterday"}]},
        {"value": [], "nextLink": 1},
        b"[" * 100_000,
    ],
)
def test_an_invalid_list_is_an_error(script: Script, client: DeploymentClient, content: Any) -> None:
    script.responses = [Response(content)]

    with pytest.raises(errors.InvalidControlPlaneResponse):
        client.list_services()


@pytest.mark.parametrize(
    "keys",
    [{}, {"primaryKey": "x"}, {"primaryKey": "secret", "secondaryKey": ""}, {"primaryKey": "a\n", "secondaryKey": "x"}],
)
def test_invalid_keys_are_an_error(script: Script, client: DeploymentClient, keys: Json) -> None:
    script.responses = [Response(keys)]

    with pytest.raises(errors.InvalidControlPlaneResponse) as caught:
        client.get_service_keys("s1")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (Response({}), errors.InvalidControlPlaneResponse),
        (Response({"state": "Sleeping"}), errors.InvalidControlPlaneResponse),
        (Response({"state": "Failed"}), errors.OperationFailed),
        (Response({"state": "Failed", "error": {"details": 1}}), errors.OperationFailed),
        (Response({}, 404), errors.NotDeployed),
    ],
)
def test_failed_and_invalid_operations_are_errors(
    script: Script, client: DeploymentClient, response: Response, kind: type[Exception]
) -> None:
    script.responses = [ACCEPTED, response]

    with pytest.raises(kind):
        client.delete_service("s1")


@pytest.mark.parametrize("location", [None, "https://other.example/services/x", "/models/x", "/services/"])
def test_an_invalid_resource_location_is_an_error(
    script: Script, client: DeploymentClient, location: str | None
) -> None:
    script.responses = [NONE, ACCEPTED, Response({"state": "Succeeded", "resourceLocation": location})]

    with pytest.raises(errors.InvalidControlPlaneResponse, match="resourceLocation"):
        client.create_service("cats", "m1")


def test_polling_an_operation_waits_for_the_time_in_retry_after(
    script: Script, client: DeploymentClient, time: FakeTime
) -> None:
    running = {"state": "Running"}
    script.responses = [ACCEPTED, Response(running, headers={"Retry-After": "5"}), Response(running), DONE]

    client.delete_service("s1")

    assert time.slept == [5.0, 0.375]


def test_the_length_of_a_response_is_limited(script: Script, client: DeploymentClient) -> None:
    script.responses = [Response(b" " * (9 * 1024 * 1024))]

    with pytest.raises(errors.InvalidControlPlaneResponse, match="longer than"):
        client.list_services()


# Secrets.


def test_error_messages_omit_the_secrets_of_the_request(script: Script, client: DeploymentClient) -> None:
    pair = ServerCertificate(
        "-----BEGIN CERTIFICATE-----\nx", "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
    )
    keys = ServiceKeys("secret-one", "secret-two")

    def echo(request: Any) -> str:
        return f"bad {request.body.decode()} {request.headers['authorization']}\n\x1b[2J" + "x" * 1000

    script.responses = [NONE]
    original = script.respond
    script.respond = lambda request: (  # type: ignore[method-assign] # the response repeats the request
        Response({"error": {"message": echo(request)}}, 400) if request.method == "POST" else original(request)
    )

    with pytest.raises(errors.ControlPlaneRefused) as caught:
        client.create_service("cats", "m1", certificate=pair, keys=keys)

    assert not re.search(r"secret|PRIVATE|eyJ|\n|\x1b", str(caught.value))
    assert len(str(caught.value)) < 600


def test_representations_omit_secrets() -> None:
    pair = ServerCertificate("-----BEGIN CERTIFICATE-----secret", "-----BEGIN PRIVATE KEY-----secret")

    assert "secret" not in f"{pair!r}{ServiceKeys('secret', 'secret')!r}"


@pytest.mark.parametrize(
    ("chain", "key"), [("", "-----BEGIN PRIVATE KEY-----"), ("-----BEGIN CERTIFICATE-----", "secret")]
)
def test_an_invalid_certificate_is_not_sent(chain: str, key: str) -> None:
    with pytest.raises(ValueError, match="PEM") as caught:
        ServerCertificate(chain, key)

    assert "secret" not in str(caught.value)
