"""What the stack reads of the settings file and of the environment, and the ports that it looks at first."""

import json
from pathlib import Path

import pytest

from devstack import stack
from devstack.stack import Addresses, Ports
from devstack.state import CERTIFICATE, SERVICE
from devstack.supervisor import StackFailed
from shared import settings
from shared.fpga.deployment_types import Account
from tests.devstack.privileges import unprivileged

RESERVED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
EVERY_PORT_IS_FREE = not RESERVED_PORTS.exists() or int(RESERVED_PORTS.read_text()) < 2


@pytest.mark.skipif(EVERY_PORT_IS_FREE, reason="everybody may bind every port here")
def test_a_port_that_may_not_be_bound_is_named() -> None:
    with unprivileged(), pytest.raises(StackFailed) as failed:
        stack.check_ports(Ports.starting_at(1))

    assert str(failed.value) == (
        "port 1 on 127.0.0.1, which the Functions host needs, cannot be bound (Permission denied):"
        " take other ports with --ports-from N"
    )


@pytest.fixture
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in stack.PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("without_proxy")
def test_the_default_ports_are_those_of_the_settings_file() -> None:
    ports = Ports()
    defaults = Addresses(
        identity=f"http://127.0.0.1:{ports.identity}/msi/token",
        vault=f"https://127.0.0.1:{ports.vault}",
        fpga=f"127.0.0.1:{ports.fpga}",
        control=f"https://127.0.0.1:{ports.control}",
    )
    content = json.loads(stack.SETTINGS_FILE.read_text())

    assert stack.overrides(defaults, stack.FOLDER / "state" / "ca.pem") == {}
    assert ports.host == content["Host"]["LocalHttpPort"]
    assert Ports.starting_at(ports.host) == ports


@pytest.mark.usefixtures("without_proxy")
def test_what_differs_from_the_settings_file_is_what_must_be_exported() -> None:
    elsewhere = Addresses(
        "http://127.0.0.1:7072/msi/token", "https://127.0.0.1:7073", "127.0.0.1:99", "https://127.0.0.1:98"
    )

    assert stack.overrides(elsewhere, Path("/elsewhere/ca.pem")) == {
        "KEY_VAULT_CA_FILE": "/elsewhere/ca.pem",
        "CONTROL_PLANE_ARM_ENDPOINT": "https://localhost:98",
        "CONTROL_PLANE_CA_FILE": "/elsewhere/ca.pem",
        "SERVICE__IMAGENET__PORT": "99",
        "SERVICE__IMAGENET_TENSOR__PORT": "99",
    }


def test_the_gateway_can_use_the_settings_file(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    paths = {"KEY_VAULT_CA_FILE": str(ca), "CONTROL_PLANE_CA_FILE": str(ca)}

    read = settings.load({**stack.settings(), **paths})

    assert [service.control_plane_name for service in read.services.values()] == [SERVICE, ""]
    assert read.services["imagenet"].certificate_secret == CERTIFICATE
    assert read.rotation
    account = stack.account(stack.settings())
    assert account == Account(read.rotation.subscription, read.rotation.group, read.rotation.account)


def test_services_beside_the_stacks_own_get_the_ports_behind_them() -> None:
    assert Ports().first_spare == Ports().control + 1
    assert Ports.starting_at(0).first_spare == 0
    assert Ports.starting_at(stack.HIGHEST_PORT - 4).first_spare == 0


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"NO_PROXY": "intranet"}, None),
        ({"HTTPS_PROXY": "http://proxy"}, "localhost,127.0.0.1"),
        ({"grpc_proxy": "http://proxy", "NO_PROXY": "intranet"}, "intranet,localhost,127.0.0.1"),
        ({"https_proxy": "http://proxy", "no_proxy": "a,b", "NO_PROXY": "c"}, "a,b,localhost,127.0.0.1"),
    ],
)
def test_loopback_is_exempt_from_a_proxy(environ: dict[str, str], names: str | None) -> None:
    assert stack.without_proxy(environ) == ({} if names is None else {"no_proxy": names, "NO_PROXY": names})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"local\.settings\.json is not valid JSON: .* in line 1: correct it"),
        ("[]", r"local\.settings\.json must hold a JSON object"),
        ("{}", r"has no setting IDENTITY_HEADER: restore it with git checkout local\.settings\.json"),
        ('{"Values": {"IDENTITY_HEADER": "a"}}', r"has no setting CONTROL_PLANE_SUBSCRIPTION: restore it with git"),
        (None, r"has no setting IDENTITY_HEADER: restore it with git checkout local\.settings\.json"),
    ],
)
def test_a_damaged_settings_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    file = tmp_path / "local.settings.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(stack, "SETTINGS_FILE", file)

    with pytest.raises(StackFailed, match=message):
        stack.settings()
