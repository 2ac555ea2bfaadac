"""The control plane's client against the real control plane: every method, and what becomes of its faults."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential

from devstack.authority import Authority, Issued, fingerprint
from shared.fpga import deployment_errors as errors
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployment_types import ServerCertificate, ServiceKeys
from tests.devstack.control.plane import FAULTS, Files, Plane
from tests.devstack.processes import Running
from tests.shared.fpga.control_planes import ACCOUNT, Connect, Credential, FakeTime

KEYS = ServiceKeys("one-of-the-keys", "two-of-the-keys")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="module")
def running(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with files.running(tmp_path_factory.mktemp("control"), "--page-size", "2") as running:
        yield running


@pytest.fixture
def plane(files: Files, running: Running) -> Iterator[Plane]:
    """The same control plane as its administrator sees it."""
    with files.plane(running.address) as plane:
        yield plane
        plane.http.delete(FAULTS).raise_for_status()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def credential(files: Files) -> Credential:
    return Credential((files.folder / "signing.key").read_bytes())


@pytest.fixture
def connect(files: Files, running: Running, time: FakeTime, credential: Credential) -> Iterator[Connect]:
    """Makes clients of the control plane, by its own name, with a valid token and the fake clock."""
    made: list[DeploymentClient] = []

    def client(token: Any = credential, **options: Any) -> DeploymentClient:
        given = {"arm_endpoint": running.address, "ca_file": str(files.ca), "timing": time.timing, **options}
        made.append(DeploymentClient(given.pop("account", ACCOUNT), token, **given))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def client(connect: Connect) -> DeploymentClient:
    return connect()


@pytest.fixture
def issued(files: Files) -> Issued:
    return files.authority.issue()


def pem(issued: Issued) -> ServerCertificate:
    return ServerCertificate(issued.chain.decode(), issued.key.decode())


def lines(running: Running, plane: Plane, pattern: str) -> int:
    """How many requests the control plane's log has of that form."""
    # A request is logged right after its answer, and so before the next request is.
    plane.http.get(FAULTS).raise_for_status()
    return len(re.findall(pattern, running.log))


CREATIONS = r"control POST \S+/services \d+"


# Creating.


def test_a_created_service_is_ready_and_takes_its_keys(client: DeploymentClient, plane: Plane, issued: Issued) -> None:
    service = client.create_service("created", "imagenet", certificate=pem(issued), keys=KEYS)

    assert service == client.get_service_by_id(service.id) == client.get_service_by_name("created")
    assert (service.ready, service.tls, service.model_id, service.error) == (True, True, "imagenet", None)
    assert service.created_at
    assert service.created_at.tzinfo
    reached = {"ipAddress": service.address, "port": service.port}
    assert plane.predict(reached, KEYS.primary, issued.certificate)
    assert client.get_service_keys(service.id) == KEYS


def test_a_service_without_a_certificate_has_no_tls(client: DeploymentClient) -> None:
    assert client.create_service("in-the-clear", "imagenet").tls is False


def test_a_name_in_use_is_told_without_a_second_creation(
    client: DeploymentClient, plane: Plane, running: Running
) -> None:
    client.create_service("used", "imagenet")
    before = lines(running, plane, CREATIONS)

    with pytest.raises(errors.NameInUse, match="used"):
        client.create_service("used", "imagenet")

    assert lines(running, plane, CREATIONS) == before


def test_a_creation_whose_answer_is_lost_is_followed_by_its_name(
    client: DeploymentClient, plane: Plane, running: Running, issued: Issued
) -> None:
    plane.switch(
        {"mode": "lost", "calls": ["create"], "count": 1},
        {"mode": "slow", "delay": 0.1, "calls": ["create"], "count": 1},
    )
    before = lines(running, plane, CREATIONS)

    service = client.create_service("lost", "imagenet", certificate=pem(issued), keys=KEYS)

    assert (service.name, service.ready) == ("lost", True)
    assert lines(running, plane, CREATIONS) == before + 1


def test_a_creation_whose_answer_is_lost_may_fail_all_the_same(client: DeploymentClient, plane: Plane) -> None:
    plane.switch(
        {"mode": "lost", "calls": ["create"], "count": 1},
        {"mode": "fail", "calls": ["create"], "count": 1, "message": "no board is free"},
    )

    with pytest.raises(errors.OperationFailed, match="no board is free"):
        client.create_service("lost-and-failed", "imagenet")


@pytest.mark.parametrize("fault", [{"mode": "error"}, {"mode": "unavailable", "retry_after": 1}])
def test_a_creation_that_is_not_answered_and_not_to_be_found_is_never_sent_again(
    client: DeploymentClient, plane: Plane, running: Running, fault: dict[str, Any]
) -> None:
    plane.switch({**fault, "calls": ["create"]})
    before = lines(running, plane, CREATIONS)

    with pytest.raises(errors.OutcomeUnknown, match=r"answered 50[03]"):
        client.create_service("nowhere", "imagenet")

    assert lines(running, plane, CREATIONS) == before + 1
    assert client.get_service_by_name("nowhere") is None


def test_a_creation_that_is_throttled_says_when_to_come_back(
    client: DeploymentClient, plane: Plane, running: Running
) -> None:
    plane.switch({"mode": "throttle", "retry_after": 9, "calls": ["create"]})
    before = lines(running, plane, CREATIONS)

    with pytest.raises(errors.ControlPlaneUnavailable) as caught:
        client.create_service("throttled", "imagenet")

    assert caught.value.retry_after == 9
    assert lines(running, plane, CREATIONS) == before + 1


def test_a_certificate_with_a_strangers_key_fails_the_operation(client: DeploymentClient, issued: Issued) -> None:
    wrong = ServerCertificate(issued.chain.decode(), Authority.create().issue().key.decode())

    with pytest.raises(errors.OperationFailed, match="the private key belongs to another certificate") as caught:
        client.create_service("mismatched", "imagenet", certificate=wrong, keys=KEYS)

    assert caught.value.state == "Failed"
    assert not re.search(r"of-the-keys|PRIVATE|127\.0\.0\.1|\n", str(caught.value))


def test_an_unknown_model_is_rejected(client: DeploymentClient) -> None:
    with pytest.raises(errors.Rejected, match="There is no model unheard-of") as caught:
        client.create_service("modelless", "unheard-of")

    assert caught.value.status == 400


# Updating.


def test_a_new_certificate_leaves_the_keys_alone(client: DeploymentClient, plane: Plane, issued: Issued) -> None:
    service = client.create_service("rotated", "imagenet", certificate=pem(issued), keys=KEYS)
    fresh = plane.files.authority.issue()

    updated = client.update_service(service.id, certificate=pem(fresh))

    assert plane.admin("rotated")["fingerprint"] == fingerprint(fresh.certificate)
    assert client.get_service_keys(service.id) == KEYS
    assert (updated.id, updated.port, updated.ready) == (service.id, service.port, True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"primary_key": "new"}, ServiceKeys("new", KEYS.secondary)),
        ({"secondary_key": "new"}, ServiceKeys(KEYS.primary, "new")),
        ({"primary_key": "new", "secondary_key": "newer"}, ServiceKeys("new", "newer")),
        ({}, KEYS),
    ],
)
def test_a_key_that_is_not_given_stays(client: DeploymentClient, given: dict[str, str], expected: ServiceKeys) -> None:
    service = client.create_service(f"keys-{'-'.join(given)}-".replace("_", "-") + "x", "imagenet", keys=KEYS)

    client.update_service(service.id, **given)  # type: ignore[arg-type] # the names are those of keys

    assert client.get_service_keys(service.id) == expected


def test_a_key_that_could_not_be_sent_is_refused_at_once(client: DeploymentClient) -> None:
    with pytest.raises(ValueError, match="the secondary key must be printable ASCII"):
        client.update_service("any", secondary_key="schlüssel")


def test_an_update_waits_as_long_as_it_is_told_to(client: DeploymentClient, plane: Plane, time: FakeTime) -> None:
    service = client.create_service("patient", "imagenet")
    plane.switch({"mode": "unavailable", "retry_after": 7, "calls": ["update"], "count": 2})
    time.slept.clear()

    client.update_service(service.id, primary_key="new")

    assert [pause for pause in time.slept if pause >= 7] == [7, 7]
    assert client.get_service_keys(service.id).primary == "new"


def test_an_update_whose_answer_is_lost_is_sent_again(client: DeploymentClient, plane: Plane) -> None:
    service = client.create_service("again", "imagenet")
    plane.switch({"mode": "lost", "calls": ["update"], "count": 1})

    client.update_service(service.id, primary_key="new")

    assert client.get_service_keys(service.id).primary == "new"


def test_a_failed_update_tells_the_operation_and_the_reason(
    client: DeploymentClient, plane: Plane, issued: Issued
) -> None:
    service = client.create_service("unlucky", "imagenet", certificate=pem(issued), keys=KEYS)
    # A control plane that repeats what it was sent in confidence.
    message = f"key {KEYS.primary} of {issued.key.decode()} was refused"
    plane.switch({"mode": "fail", "count": 1, "message": message})

    with pytest.raises(errors.OperationFailed, match=r"key \*\*\* of \*\*\* was refused") as caught:
        client.update_service(service.id, certificate=pem(issued), secondary_key="new")

    assert "/operations/" in caught.value.operation
    assert not re.search(r"of-the-keys|PRIVATE", f"{caught.value}{caught.value.message}")


def test_an_update_that_hangs_ends_with_the_deadline_and_can_be_followed_later(
    client: DeploymentClient, plane: Plane, time: FakeTime
) -> None:
    service = client.create_service("hanging", "imagenet")
    plane.switch({"mode": "hang", "count": 1})
    started = time.now

    with pytest.raises(errors.OperationTimedOut, match="while the operation was") as caught:
        client.update_service(service.id, primary_key="new", deadline=60)

    assert 30 < time.now - started <= 60
    with pytest.raises(errors.OperationTimedOut):
        client.wait_for_operation(caught.value.operation, deadline=5)
    plane.http.delete(FAULTS).raise_for_status()
    with pytest.raises(errors.OperationFailed) as ended:
        client.wait_for_operation(caught.value.operation)
    assert ended.value.state == "Cancelled"


def test_an_operation_survives_a_control_plane_that_is_away_for_a_while(client: DeploymentClient, plane: Plane) -> None:
    service = client.create_service("followed", "imagenet")
    plane.switch({"mode": "error", "calls": ["operation"], "count": 3})

    assert client.update_service(service.id).ready


def test_an_operation_whose_end_cannot_be_seen_has_timed_out(client: DeploymentClient, plane: Plane) -> None:
    service = client.create_service("unseen", "imagenet")
    plane.switch({"mode": "error", "calls": ["operation"]})

    with pytest.raises(errors.OperationTimedOut, match="answered 500"):
        client.update_service(service.id, deadline=20)


# Deleting and reading.


def test_a_deleted_service_is_not_found(client: DeploymentClient) -> None:
    service = client.create_service("deleted", "imagenet")

    client.delete_service(service.id)

    assert client.get_service_by_name("deleted") is None
    for call in (client.get_service_by_id, client.get_service_keys, client.delete_service, client.update_service):
        with pytest.raises(errors.NotFound):
            call(service.id)


def test_a_deletion_whose_answer_is_lost_is_sent_again(client: DeploymentClient, plane: Plane) -> None:
    service = client.create_service("deleted-twice", "imagenet")
    plane.switch({"mode": "lost", "calls": ["delete"], "count": 1})

    client.delete_service(service.id)

    assert client.get_service_by_name("deleted-twice") is None


def test_a_list_is_read_to_its_last_page(client: DeploymentClient) -> None:
    names = {f"listed-{number}" for number in range(3)}
    for name in names:
        client.create_service(name, "imagenet")

    listed = [service.name for service in client.list_services()]

    assert names <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("kind", ["Primary", "Secondary", None])
def test_keys_are_generated_anew(client: DeploymentClient, kind: Any) -> None:
    service = client.create_service(f"rekeyed-{kind}", "imagenet", keys=KEYS)

    keys = client.regenerate_service_keys(service.id, kind)

    assert (keys.primary == KEYS.primary, keys.secondary == KEYS.secondary) == (kind == "Secondary", kind == "Primary")
    assert client.get_service_keys(service.id) == keys


def test_keys_are_not_generated_twice_for_one_call(client: DeploymentClient, plane: Plane, running: Running) -> None:
    service = client.create_service("rekeyed-once", "imagenet", keys=KEYS)
    plane.switch({"mode": "lost", "calls": ["regenerate"]})

    with pytest.raises(errors.OutcomeUnknown, match="regenerate"):
        client.regenerate_service_keys(service.id)

    assert lines(running, plane, rf"POST \S+/{service.id}/regenerateKeys 504") == 1


# Models.


def test_models_are_registered_listed_and_deleted(client: DeploymentClient, tmp_path: Path) -> None:
    from tests.devstack.control.test_control_models import archive

    (tmp_path / "model.zip").write_bytes(archive())

    model = client.register_model("colours", (tmp_path / "model.zip").as_uri())

    assert model in client.list_models()
    assert client.create_service("colours", model.id).model_id == model.id
    with pytest.raises(errors.Rejected, match="in use by service colours"):
        client.delete_model(model.id)
    client.delete_service(found.id if (found := client.get_service_by_name("colours")) else "")
    client.delete_model(model.id)
    assert model.id not in [each.id for each in client.list_models()]


def test_a_model_that_is_none_is_rejected_with_the_reason(client: DeploymentClient) -> None:
    with pytest.raises(errors.Rejected, match="there is no file"):
        client.register_model("none", "file:///nowhere/model.zip")


# Access, discovery, time.


def test_a_managed_identity_is_let_in(
    files: Files, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--port", "0", "--signing-key", files.folder / "signing.key", "--header", "a-header")
    with Running("devstack.identity", *arguments, log=tmp_path / "identity.log") as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity.address)
        monkeypatch.setenv("IDENTITY_HEADER", "a-header")
        with ManagedIdentityCredential(retry_total=0) as credential:
            assert connect(credential).get_service_by_name("nobody") is None


def test_an_identity_without_a_token_is_named(connect: Connect) -> None:
    class Tokenless:
        def get_token(self, *_: str, **__: Any) -> Any:
            raise ClientAuthenticationError("https://login.example/secret-path")

    with pytest.raises(errors.TokenUnavailable) as caught:
        connect(Tokenless()).list_services()

    assert "login.example" not in str(caught.value)


def test_a_token_for_something_else_is_unauthorized_at_once(files: Files, connect: Connect, time: FakeTime) -> None:
    stranger = Credential((files.folder / "signing.key").read_bytes(), "https://vault.azure.net")

    with pytest.raises(errors.Unauthorized, match="The token is for"):
        connect(stranger).list_services()

    assert time.slept == []


def test_an_account_that_is_not_there_is_not_found(connect: Connect) -> None:
    with pytest.raises(errors.NotFound, match="discover"):
        connect(account=type(ACCOUNT)("other", "group", "name")).list_services()


def test_the_control_plane_is_discovered_once(client: DeploymentClient, plane: Plane) -> None:
    client.list_models()
    plane.switch({"mode": "error", "calls": ["discovery"]})

    assert client.list_models()


def test_the_token_is_reused(connect: Connect, credential: Credential) -> None:
    client = connect()
    for _ in range(3):
        client.list_services()

    assert credential.issued == 1


def test_a_control_plane_with_a_strangers_certificate_is_refused_at_once(
    connect: Connect, time: FakeTime, tmp_path: Path
) -> None:
    Authority.create().save(tmp_path)

    with pytest.raises(errors.ControlPlaneUnavailable, match="certificate is not trusted"):
        connect(ca_file=str(tmp_path / "ca.pem")).list_services()

    assert time.slept == []


def test_a_wait_beyond_the_deadline_is_not_begun(client: DeploymentClient, plane: Plane, time: FakeTime) -> None:
    client.list_services()
    plane.switch({"mode": "throttle", "retry_after": 100})

    with pytest.raises(errors.ControlPlaneUnavailable) as caught:
        client.list_services(deadline=30)

    assert caught.value.retry_after == 100
    assert time.slept == []
