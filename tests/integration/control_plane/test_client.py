"""The control plane's client with the local control plane: every method, and injected faults."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential

from devstack.authority import Authority, Issued, fingerprint
from shared import errors
from shared.control_plane.client import DeploymentClient
from shared.control_plane.types import ServerCertificate, ServiceKeys
from tests.support.control_planes import ACCOUNT, Connect, Credential, FakeTime
from tests.support.devstack.control_plane import FAULTS, ControlPlaneClient, ControlPlaneFiles
from tests.support.devstack.processes import ServerProcess

KEYS = ServiceKeys("one-of-the-keys", "two-of-the-keys")


@pytest.fixture
def credential(control_files: ControlPlaneFiles) -> Credential:
    return Credential((control_files.folder / "signing.key").read_bytes())


@pytest.fixture
def connect(plane: ControlPlaneClient, time: FakeTime, credential: Credential) -> Iterator[Connect]:
    """Creates clients of the control plane with a valid token and the fake clock."""
    clients: list[DeploymentClient] = []

    def client(token: Any = credential, **options: Any) -> DeploymentClient:
        address, ca = str(plane.http.base_url).rstrip("/"), str(plane.files.ca)
        arguments = {"arm_endpoint": address, "ca_file": ca, "timing": time.timing, **options}
        clients.append(DeploymentClient(arguments.pop("account", ACCOUNT), token, **arguments))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


@pytest.fixture
def client(connect: Connect) -> DeploymentClient:
    return connect()


def pem(issued: Issued) -> ServerCertificate:
    return ServerCertificate(issued.chain.decode(), issued.key.decode())


type Logged = Callable[[str], int]


@pytest.fixture
def logged(control_process: ServerProcess, plane: ControlPlaneClient) -> Logged:
    """Returns the number of requests in the control plane's log that match a pattern."""

    def count(pattern: str) -> int:
        # A request is logged after its response, but before the next request is.
        plane.http.get(FAULTS).raise_for_status()
        return len(re.findall(pattern, control_process.log))

    return count


CREATIONS = r"control POST \S+/services \d+"


# Creation.


def test_a_created_service_is_ready_and_accepts_its_keys(
    client: DeploymentClient, plane: ControlPlaneClient, certificate: Issued
) -> None:
    service = client.create_service("created", "imagenet", certificate=pem(certificate), keys=KEYS)

    assert service == client.get_service_by_id(service.id) == client.get_service_by_name("created")
    assert (service.ready, service.tls, service.model_id, service.error) == (True, True, "imagenet", None)
    assert service.created_at
    assert service.created_at.tzinfo
    endpoint = {"ipAddress": service.address, "port": service.port}
    assert plane.predict(endpoint, KEYS.primary, certificate.certificate)
    assert client.get_service_keys(service.id) == KEYS


def test_a_service_without_a_certificate_has_no_tls(client: DeploymentClient) -> None:
    assert client.create_service("without-tls", "imagenet").tls is False


def test_a_name_in_use_is_an_error_without_a_second_creation(client: DeploymentClient, logged: Logged) -> None:
    client.create_service("used", "imagenet")
    before = logged(CREATIONS)

    with pytest.raises(errors.NameInUse, match="used"):
        client.create_service("used", "imagenet")

    assert logged(CREATIONS) == before


def test_after_a_lost_response_a_failed_creation_is_reported(
    client: DeploymentClient, plane: ControlPlaneClient
) -> None:
    plane.set_faults(
        {"mode": "lost", "calls": ["create"], "count": 1},
        {"mode": "fail", "calls": ["create"], "count": 1, "message": "no board is free"},
    )

    with pytest.raises(errors.OperationFailed, match="no board is free"):
        client.create_service("lost-and-failed", "imagenet")


def test_a_throttled_creation_has_a_retry_after(
    client: DeploymentClient, plane: ControlPlaneClient, logged: Logged
) -> None:
    plane.set_faults({"mode": "throttle", "retry_after": 9, "calls": ["create"]})
    before = logged(CREATIONS)

    with pytest.raises(errors.ControlPlaneUnreachable) as caught:
        client.create_service("throttled", "imagenet")

    assert caught.value.retry_after == 9
    assert logged(CREATIONS) == before + 1


def test_a_certificate_with_another_key_fails_the_operation(client: DeploymentClient, certificate: Issued) -> None:
    wrong = ServerCertificate(certificate.chain.decode(), Authority.create().issue().key.decode())

    with pytest.raises(errors.OperationFailed, match="the private key belongs to another certificate") as caught:
        client.create_service("mismatched", "imagenet", certificate=wrong, keys=KEYS)

    assert "ended as Failed" in caught.value.detail
    assert not re.search(r"of-the-keys|PRIVATE|127\.0\.0\.1|\n", str(caught.value))


def test_an_unknown_model_is_rejected(client: DeploymentClient) -> None:
    with pytest.raises(errors.ControlPlaneRefused, match="There is no model unknown") as caught:
        client.create_service("without-model", "unknown")

    assert caught.value.http_status == 400


# Updates.


def test_a_new_certificate_does_not_change_the_keys(
    client: DeploymentClient, plane: ControlPlaneClient, certificate: Issued
) -> None:
    service = client.create_service("rotated", "imagenet", certificate=pem(certificate), keys=KEYS)
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
def test_only_the_given_keys_are_changed(
    client: DeploymentClient, given: dict[str, str], expected: ServiceKeys
) -> None:
    service = client.create_service(f"keys-{'-'.join(given)}-".replace("_", "-") + "x", "imagenet", keys=KEYS)

    client.update_service(service.id, **given)  # type: ignore[arg-type] # all values are keys

    assert client.get_service_keys(service.id) == expected


def test_an_invalid_key_is_not_sent(client: DeploymentClient) -> None:
    with pytest.raises(ValueError, match="the secondary key must be printable ASCII"):
        client.update_service("any", secondary_key="schlüssel")


@pytest.mark.parametrize(
    ("fault", "pauses"),
    [({"mode": "unavailable", "retry_after": 7, "count": 2}, [7, 7]), ({"mode": "lost", "count": 1}, [])],
    ids=["Retry-After", "lost response"],
)
def test_an_update_is_sent_again_after_the_time_in_retry_after(
    client: DeploymentClient, plane: ControlPlaneClient, time: FakeTime, fault: dict[str, Any], pauses: list[float]
) -> None:
    service = client.create_service(f"again-{fault['mode']}", "imagenet")
    plane.set_faults({**fault, "calls": ["update"]})
    time.slept.clear()

    client.update_service(service.id, primary_key="new")

    assert [pause for pause in time.slept if pause >= 7] == pauses
    assert client.get_service_keys(service.id).primary == "new"


def test_a_failed_update_has_the_operation_and_the_reason_without_secrets(
    client: DeploymentClient, plane: ControlPlaneClient, certificate: Issued
) -> None:
    service = client.create_service("failing", "imagenet", certificate=pem(certificate), keys=KEYS)
    # The control plane's message repeats secrets of the request.
    message = f"key {KEYS.primary} of {certificate.key.decode()} was refused"
    plane.set_faults({"mode": "fail", "count": 1, "message": message})

    with pytest.raises(errors.OperationFailed, match=r"key \*\*\* of \*\*\* was refused") as caught:
        client.update_service(service.id, certificate=pem(certificate), secondary_key="new")

    assert "/operations/" in caught.value.operation
    assert not re.search(r"of-the-keys|PRIVATE", f"{caught.value}{caught.value.reason}")


def test_a_hanging_update_times_out_and_its_operation_can_be_awaited_later(
    client: DeploymentClient, plane: ControlPlaneClient, time: FakeTime
) -> None:
    service = client.create_service("hanging", "imagenet")
    plane.set_faults({"mode": "hang", "count": 1})
    started = time.now

    with pytest.raises(errors.OperationTimedOut, match="while the operation was") as caught:
        client.update_service(service.id, primary_key="new", deadline=60)

    assert 30 < time.now - started <= 60
    with pytest.raises(errors.OperationTimedOut):
        client.wait_for_operation(caught.value.operation, deadline=5)
    plane.http.delete(FAULTS).raise_for_status()
    with pytest.raises(errors.OperationFailed) as ended:
        client.wait_for_operation(caught.value.operation)
    assert "ended as Cancelled" in ended.value.detail


def test_polling_an_operation_continues_after_errors_until_the_deadline(
    client: DeploymentClient, plane: ControlPlaneClient
) -> None:
    service = client.create_service("followed", "imagenet")
    plane.set_faults({"mode": "error", "calls": ["operation"], "count": 3})

    assert client.update_service(service.id).ready

    plane.set_faults({"mode": "error", "calls": ["operation"]})
    with pytest.raises(errors.OperationTimedOut, match="responded with 500"):
        client.update_service(service.id, deadline=20)


# Deletion, lists and keys.


def test_a_deleted_service_is_not_found(client: DeploymentClient) -> None:
    service = client.create_service("deleted", "imagenet")

    client.delete_service(service.id)

    assert client.get_service_by_name("deleted") is None
    for call in (client.get_service_by_id, client.get_service_keys, client.delete_service, client.update_service):
        with pytest.raises(errors.NotDeployed):
            call(service.id)


def test_a_list_is_read_to_its_last_page(client: DeploymentClient) -> None:
    names = {f"listed-{number}" for number in range(3)}
    for name in names:
        client.create_service(name, "imagenet")

    listed = [service.name for service in client.list_services()]

    assert names <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("kind", ["Primary", "Secondary", None])
def test_keys_are_regenerated(client: DeploymentClient, kind: Any) -> None:
    service = client.create_service(f"rekeyed-{kind}", "imagenet", keys=KEYS)

    keys = client.regenerate_service_keys(service.id, kind)

    assert (keys.primary == KEYS.primary, keys.secondary == KEYS.secondary) == (kind == "Secondary", kind == "Primary")
    assert client.get_service_keys(service.id) == keys


def test_a_regeneration_is_not_sent_again(client: DeploymentClient, plane: ControlPlaneClient, logged: Logged) -> None:
    service = client.create_service("rekeyed-once", "imagenet", keys=KEYS)
    plane.set_faults({"mode": "lost", "calls": ["regenerate"]})

    with pytest.raises(errors.OutcomeUnknown, match="regenerate"):
        client.regenerate_service_keys(service.id)

    assert logged(rf"POST \S+/{service.id}/regenerateKeys 504") == 1


# Models.


def test_models_are_registered_listed_and_deleted(client: DeploymentClient, tmp_path: Path) -> None:
    from tests.support.devstack.model_archives import archive

    (tmp_path / "model.zip").write_bytes(archive())

    model = client.register_model("colours", (tmp_path / "model.zip").as_uri())

    assert model in client.list_models()
    assert client.create_service("colours", model.id).model_id == model.id
    with pytest.raises(errors.ControlPlaneRefused, match="in use by service colours"):
        client.delete_model(model.id)
    client.delete_service(found.id if (found := client.get_service_by_name("colours")) else "")
    client.delete_model(model.id)
    assert model.id not in [each.id for each in client.list_models()]


def test_a_missing_model_file_is_rejected_with_the_reason(client: DeploymentClient) -> None:
    with pytest.raises(errors.ControlPlaneRefused, match="there is no file"):
        client.register_model("missing", "file:///nowhere/model.zip")


# Access, discovery and deadlines.


def test_a_managed_identity_is_accepted(
    control_files: ControlPlaneFiles, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--port", "0", "--signing-key", control_files.folder / "signing.key")
    monkeypatch.setenv("IDENTITY_HEADER", "a-header")
    with ServerProcess("devstack.identity", *arguments, log=tmp_path / "identity.log") as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity.address)
        with ManagedIdentityCredential(retry_total=0) as credential:
            assert connect(credential).get_service_by_name("unknown") is None


def test_an_identity_without_a_token_is_an_error(connect: Connect) -> None:
    class Tokenless:
        def get_token(self, *_: str, **__: Any) -> Any:
            raise ClientAuthenticationError("https://login.example/secret-path")

    with pytest.raises(errors.IdentityUnavailable) as caught:
        connect(Tokenless()).list_services()

    assert "login.example" not in str(caught.value)


def test_a_token_for_another_resource_is_rejected_without_retries(
    control_files: ControlPlaneFiles, connect: Connect, time: FakeTime
) -> None:
    other_resource = Credential((control_files.folder / "signing.key").read_bytes(), "https://vault.azure.net")

    with pytest.raises(errors.ControlPlaneRefused, match="The token is for"):
        connect(other_resource).list_services()

    assert time.slept == []


def test_an_unknown_account_is_not_found(connect: Connect) -> None:
    with pytest.raises(errors.NotDeployed, match="discover"):
        connect(account=type(ACCOUNT)("other", "group", "name")).list_services()


def test_the_control_plane_is_discovered_once(client: DeploymentClient, plane: ControlPlaneClient) -> None:
    client.list_models()
    plane.set_faults({"mode": "error", "calls": ["discovery"]})

    assert client.list_models()


def test_the_token_is_reused(connect: Connect, credential: Credential) -> None:
    client = connect()
    for _ in range(3):
        client.list_services()

    assert credential.issued == 1


def test_an_untrusted_control_plane_is_an_error_without_retries(
    connect: Connect, time: FakeTime, tmp_path: Path
) -> None:
    Authority.create().save(tmp_path)

    with pytest.raises(errors.ControlPlaneUnreachable, match="certificate is not trusted"):
        connect(ca_file=str(tmp_path / "ca.pem")).list_services()

    assert time.slept == []


def test_a_wait_beyond_the_deadline_is_not_started(
    client: DeploymentClient, plane: ControlPlaneClient, time: FakeTime
) -> None:
    client.list_services()
    plane.set_faults({"mode": "throttle", "retry_after": 100})

    with pytest.raises(errors.ControlPlaneUnreachable) as caught:
        client.list_services(deadline=30)

    assert caught.value.retry_after == 100
    assert time.slept == []
