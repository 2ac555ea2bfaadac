"""The control plane's client and answers that no sound control plane gives: broken, foreign, malformed."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.authority import Authority
from shared.fpga import deployment_errors as errors
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployment_timing import Timing
from shared.fpga.deployment_types import ServerCertificate, ServiceKeys
from tests.shared.fpga.control_planes import ACCOUNT, DROP, Answer, Credential, FakeTime, Json, Script

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
ACCEPTED = Answer({}, 202, {"Operation-Location": OPERATION})
DONE = Answer({"state": "Succeeded", "resourceLocation": f"{ACCOUNT.path('services')}/s1"})
NOTHING = Answer({"value": []})
FOUND = Answer({"value": [SERVICE]})


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
def elsewhere(folder: Path) -> Iterator[Script]:
    """Another server, which nobody should ask for anything."""
    with Script(folder / "leaf.pem", folder / "leaf.key") as script:
        yield script
        assert script.requests == []


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def client(script: Script, folder: Path, time: FakeTime) -> Iterator[DeploymentClient]:
    client = connect(script.url, folder, time.timing)
    yield client
    client.close()


def connect(url: str, folder: Path, timing: Timing) -> DeploymentClient:
    return DeploymentClient(
        ACCOUNT, Credential(bytes(32)), arm_endpoint=url, ca_file=str(folder / "ca.pem"), timing=timing
    )


# What is sent.


def test_requests_have_what_the_contract_asks_for_and_nothing_else(script: Script, client: DeploymentClient) -> None:
    script.answers = [NOTHING, ACCEPTED, DONE]
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


def test_an_update_says_nothing_of_what_is_to_stay(script: Script, client: DeploymentClient) -> None:
    script.answers = [Answer(SERVICE), ACCEPTED, DONE, Answer(SERVICE)]

    client.update_service("s1")

    assert script.requests[1].document == {"computeType": "FPGA", "modelId": "m1", "numReplicas": 1}


def test_one_key_travels_with_the_other(script: Script, client: DeploymentClient) -> None:
    known = Answer({"primaryKey": "one", "secondaryKey": "two"})
    script.answers = [Answer(SERVICE), known, ACCEPTED, DONE, Answer(SERVICE)]

    client.update_service("s1", secondary_key="new")

    assert script.requests[2].document["keys"] == {"primaryKey": "one", "secondaryKey": "new"}


# Retries.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_says_not_now_is_tried_again(
    script: Script, client: DeploymentClient, time: FakeTime, status: int
) -> None:
    script.answers = [Answer(b"<html>", status), Answer(b"", status), FOUND]

    assert client.get_service_by_name("cats")

    # Twice as long each time, and half of it by chance.
    assert time.slept == [0.375, 0.75]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Rejected),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Rejected),
        (501, errors.ControlPlaneUnavailable),
        (302, errors.InvalidAnswer),
    ],
)
def test_every_other_status_is_told_at_once(
    script: Script, client: DeploymentClient, status: int, kind: type[Exception]
) -> None:
    script.answers = [Answer({"error": {"message": "because"}}, status, {"Location": "/away"}), FOUND]

    with pytest.raises(kind, match=f"cannot look cats up: the control plane answered {status}: because"):
        client.get_service_by_name("cats")

    assert len(script.requests) == 1


def test_a_broken_connection_is_tried_again(script: Script, client: DeploymentClient) -> None:
    cut = Answer(b'{"val', headers={"Content-Length": "100"})
    script.answers = [DROP, cut, FOUND]

    assert client.get_service_by_name("cats")


def test_a_deletion_that_was_carried_out_but_not_answered_is_a_success(
    script: Script, client: DeploymentClient
) -> None:
    gone = Answer({}, 404)
    script.answers = [DROP, gone]
    client.delete_service("s1")

    script.answers = [gone]
    with pytest.raises(errors.NotFound):
        client.delete_service("s1")


def test_nobody_there_is_told_when_the_deadline_ends(folder: Path, time: FakeTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    client = connect(f"https://127.0.0.1:{port}", folder, time.timing)

    with pytest.raises(errors.ControlPlaneUnavailable, match="cannot be reached") as caught:
        client.list_services(deadline=10)

    assert len(time.slept) > 2
    assert 5 < time.now <= 10
    assert str(port) not in str(caught.value)
    client.close()


def test_a_control_plane_that_has_moved_is_discovered_anew(
    script: Script, folder: Path, client: DeploymentClient
) -> None:
    with Script(folder / "leaf.pem", folder / "leaf.key") as first:
        script.location = f"{first.url}/swagger.json"
        first.answers = [NOTHING]
        client.list_services()
    with pytest.raises(errors.ControlPlaneUnavailable):
        client.list_services(deadline=1)

    script.location, script.answers = "", [FOUND]

    assert [service.name for service in client.list_services()] == ["cats"]


def test_an_answer_that_drips_ends_with_the_deadline(script: Script, folder: Path) -> None:
    client = connect(script.url, folder, Timing())
    script.answers = [NOTHING, Answer(b" " * 12, drip=True)]
    client.list_services()

    with pytest.raises(errors.ControlPlaneUnavailable, match="did not end in time"):
        client.list_services(deadline=0.25)
    client.close()


# A creation without an answer.


def test_a_creation_is_sent_once_and_found_by_its_name(script: Script, client: DeploymentClient) -> None:
    creating = {**SERVICE, "state": "Creating", "port": None}
    script.answers = [NOTHING, DROP, NOTHING, Answer({"value": [creating]}), Answer(creating), Answer(SERVICE)]

    assert client.create_service("cats", "m1").id == "s1"

    assert script.methods() == ["GET", "POST", "GET", "GET", "GET", "GET"]


@pytest.mark.parametrize("answer", [DROP, Answer({}, 500), Answer({}, 502), Answer({}, 503), Answer({}, 408)])
def test_a_creation_that_is_not_found_is_not_sent_again(
    script: Script, client: DeploymentClient, answer: Answer
) -> None:
    script.answers = [NOTHING, answer, *[NOTHING] * 10]

    with pytest.raises(errors.OutcomeUnknown, match="create cats"):
        client.create_service("cats", "m1")

    assert script.methods().count("POST") == 1


@pytest.mark.parametrize(
    "found", [{**SERVICE, "modelId": "m2"}, {**SERVICE, "sslEnabled": True}, {**SERVICE, "id": "other keys"}]
)
def test_a_service_that_somebody_else_made_meanwhile_is_not_taken_for_ours(
    script: Script, client: DeploymentClient, found: Json
) -> None:
    theirs = Answer({"primaryKey": "x", "secondaryKey": "y"})
    script.answers = [NOTHING, DROP, Answer({"value": [found]}), theirs]

    with pytest.raises(errors.NameInUse):
        client.create_service("cats", "m1", keys=ServiceKeys("one", "two"))


def test_a_name_that_was_taken_between_look_and_creation_is_in_use(script: Script, client: DeploymentClient) -> None:
    script.answers = [NOTHING, Answer({}, 409)]

    with pytest.raises(errors.NameInUse):
        client.create_service("cats", "m1")


def test_a_server_that_knows_no_names_is_searched_by_the_client(script: Script, client: DeploymentClient) -> None:
    script.answers = [Answer({"value": [{**SERVICE, "name": "dogs"}, SERVICE]}), Answer({"value": [SERVICE]})]

    found = client.get_service_by_name("cats")

    assert found
    assert found.name == "cats"
    assert client.get_service_by_name("birds") is None


# The token is for one host.


def links(script: Script, elsewhere: Script) -> list[str]:
    mine = script.url.removeprefix("https://")
    other = elsewhere.url.removeprefix("https://")
    return [
        f"https://{other}/services",
        f"https://{mine}@{other}/services",
        f"https://{other}\\@{mine}/services",
        f"http://{mine}/services",
        f"//{other}/services",
        "/services?$skiptoken=x",
        "https://[",
    ]


def test_a_next_page_elsewhere_gets_no_token(script: Script, elsewhere: Script, client: DeploymentClient) -> None:
    for link in links(script, elsewhere):
        script.requests.clear()
        script.answers = [Answer({"value": [SERVICE], "nextLink": link}), NOTHING]

        with pytest.raises(errors.InvalidAnswer, match="another host"):
            client.list_services()

        assert len(script.requests) == 1


def test_a_next_page_on_the_same_host_is_read(script: Script, client: DeploymentClient) -> None:
    script.answers = [Answer({"value": [SERVICE], "nextLink": f"{script.url.upper()}/next?$skiptoken=%20x"}), FOUND]
    script.answers[0].content["nextLink"] = script.answers[0].content["nextLink"].replace("/NEXT", "/next")

    assert len(client.list_services()) == 2
    assert script.requests[1].path.lower() == "/next?$skiptoken=%20x"


def test_an_operation_elsewhere_gets_no_token(script: Script, elsewhere: Script, client: DeploymentClient) -> None:
    other = elsewhere.url.removeprefix("https:")
    for location in (elsewhere.url, other, f"/\\{other[2:]}", "/x?y", "operations/1", "/a b"):
        script.answers = [Answer({}, 202, {"Operation-Location": location})]

        with pytest.raises(errors.InvalidAnswer, match="Operation-Location"):
            client.delete_service("s1")


@pytest.mark.parametrize("location", ["http://localhost/x", "nonsense", "https://user@localhost/x", "https://"])
def test_a_control_plane_without_tls_gets_no_token(script: Script, client: DeploymentClient, location: str) -> None:
    script.location = location

    with pytest.raises(errors.InvalidAnswer, match="https"):
        client.list_services()

    assert script.requests == []


def test_an_arm_endpoint_without_tls_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        connect("http://localhost", folder, Timing())


# Malformed answers.


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
def test_a_list_that_is_none_is_an_invalid_answer(script: Script, client: DeploymentClient, content: Any) -> None:
    script.answers = [Answer(content)]

    with pytest.raises(errors.InvalidAnswer):
        client.list_services()


@pytest.mark.parametrize(
    "keys",
    [{}, {"primaryKey": "x"}, {"primaryKey": "secret", "secondaryKey": ""}, {"primaryKey": "a\n", "secondaryKey": "x"}],
)
def test_keys_that_are_none_are_an_invalid_answer(script: Script, client: DeploymentClient, keys: Json) -> None:
    script.answers = [Answer(keys)]

    with pytest.raises(errors.InvalidAnswer) as caught:
        client.get_service_keys("s1")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({}), errors.InvalidAnswer),
        (Answer({"state": "Sleeping"}), errors.InvalidAnswer),
        (Answer({"state": "Failed"}), errors.OperationFailed),
        (Answer({"state": "Failed", "error": {"details": 1}}), errors.OperationFailed),
        (Answer({}, 404), errors.NotFound),
    ],
)
def test_an_operation_of_an_unknown_kind(
    script: Script, client: DeploymentClient, answer: Answer, kind: type[Exception]
) -> None:
    script.answers = [ACCEPTED, answer]

    with pytest.raises(kind):
        client.delete_service("s1")


@pytest.mark.parametrize("location", [None, "https://elsewhere/services/x", "/models/x", "/services/"])
def test_a_creation_that_leads_nowhere_is_an_invalid_answer(
    script: Script, client: DeploymentClient, location: str | None
) -> None:
    script.answers = [NOTHING, ACCEPTED, Answer({"state": "Succeeded", "resourceLocation": location})]

    with pytest.raises(errors.InvalidAnswer, match="resourceLocation"):
        client.create_service("cats", "m1")


def test_an_operation_is_asked_for_no_sooner_than_it_says(
    script: Script, client: DeploymentClient, time: FakeTime
) -> None:
    running = {"state": "Running"}
    script.answers = [ACCEPTED, Answer(running, headers={"Retry-After": "5"}), Answer(running), DONE]

    client.delete_service("s1")

    assert time.slept == [5.0, 0.375]


def test_an_answer_without_an_end_is_not_read_to_it(script: Script, client: DeploymentClient) -> None:
    script.answers = [Answer(b" " * (9 * 1024 * 1024))]

    with pytest.raises(errors.InvalidAnswer, match="longer than"):
        client.list_services()


# Secrets.


def test_what_was_sent_in_confidence_is_in_no_message(script: Script, client: DeploymentClient) -> None:
    pair = ServerCertificate(
        "-----BEGIN CERTIFICATE-----\nx", "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"
    )
    keys = ServiceKeys("hush-one", "hush-two")

    def echo(request: Any) -> str:
        return f"bad {request.body.decode()} {request.headers['authorization']}\n\x1b[2J" + "x" * 1000

    script.answers = [NOTHING]
    original = script.answer
    script.answer = lambda request: (  # type: ignore[method-assign] # it repeats the request, which no list can
        Answer({"error": {"message": echo(request)}}, 400) if request.method == "POST" else original(request)
    )

    with pytest.raises(errors.Rejected) as caught:
        client.create_service("cats", "m1", certificate=pair, keys=keys)

    assert not re.search(r"hush|PRIVATE|eyJ|\n|\x1b", str(caught.value))
    assert len(str(caught.value)) < 600


def test_nothing_that_holds_a_secret_shows_it() -> None:
    pair = ServerCertificate("-----BEGIN CERTIFICATE-----hush", "-----BEGIN PRIVATE KEY-----hush")

    assert "hush" not in f"{pair!r}{ServiceKeys('hush', 'hush')!r}"


@pytest.mark.parametrize(
    ("chain", "key"), [("", "-----BEGIN PRIVATE KEY-----"), ("-----BEGIN CERTIFICATE-----", "hush")]
)
def test_what_is_no_certificate_is_refused_before_it_is_sent(chain: str, key: str) -> None:
    with pytest.raises(ValueError, match="PEM") as caught:
        ServerCertificate(chain, key)

    assert "hush" not in str(caught.value)
