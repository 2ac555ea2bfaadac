"""The command lines of ``python -m devstack``, and the settings and ports of the stack."""

import ast
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from devstack import commands, stack
from devstack.control import faults as control_faults
from devstack.fpga import faults as fpga_faults
from devstack.stack import Addresses, Ports
from devstack.state import CERTIFICATE, SERVICE
from devstack.supervisor import StackFailed
from devstack.vault import faults as vault_faults
from shared import settings
from shared.control_plane.types import Account
from tests.support.devstack.processes import ROOT

WHOLE = "must be a whole number from"
HOST_OPTIONS = ("--once", "--enable-auth", "--workers 2", "--worker-process")
LEFT_OUT = "--services-only leaves out the Functions host, which {} is about: leave one of them out"
MILLISECONDS = "argument --latency-ms: must be a number of milliseconds, 0 or more, not"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("up --workers 0", f"argument --workers: {WHOLE} 1 to 64, not '0'"),
        ("up --ports-from 65532", f"argument --ports-from: {WHOLE} 0 to 65531, not '65532'"),
        ("up --port-from 8000 --once x", "unrecognized arguments: --port-from 8000 x"),
        ("up --latency-ms nan", f"{MILLISECONDS} 'nan'"),
        ("up --latency-ms 2", "--latency-ms is about the simulated engine: add --engine simulated, or leave it out"),
        (
            "up --worker-process --workers 2",
            "--worker-process starts one worker, as an instance in Azure: leave out --workers",
        ),
        *((f"up --services-only {option}", LEFT_OUT.format(option.split()[0])) for option in HOST_OPTIONS),
        ("certificate new --days 0", f"argument --days: {WHOLE} 1 to 3650, not '0'"),
        ("certificate new --names a/b", "argument --names: must be a host name or an IP address, not 'a/b'"),
        (
            "certificate new --wrong-key --self-signed",
            "argument --self-signed: not allowed with argument --wrong-key",
        ),
        ("fault vault hang", "argument JSON: must be a JSON object with a fault, not 'hang'"),
        ("certificate expire --seconds 4", f"argument --seconds: {WHOLE} 5 to 604800, not '4'"),
    ],
)
def test_invalid_options_are_refused(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        commands.parse(line.split())

    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"usage: python -m devstack {line.split(maxsplit=1)[0]} ")
    assert printed.rstrip().endswith(f"error: {message}")


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_an_old_python_can_parse_the_module_that_refuses_it(name: str) -> None:
    ast.parse((ROOT / "devstack" / f"{name}.py").read_text(), feature_version=(3, 7))


def test_the_default_ports_are_those_of_the_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in stack.PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    ports = Ports()
    defaults = Addresses(
        identity=f"http://127.0.0.1:{ports.identity}/msi/token",
        vault=f"https://127.0.0.1:{ports.vault}",
        fpga=f"127.0.0.1:{ports.fpga}",
        control=f"https://127.0.0.1:{ports.control}",
    )

    assert stack.overrides(defaults, stack.FOLDER / "state" / "ca.pem") == {}
    assert json.loads(stack.SETTINGS_FILE.read_text())["Host"]["LocalHttpPort"] == ports.host
    assert Ports.starting_at(ports.host) == ports
    elsewhere = Addresses(defaults.identity, defaults.vault, "127.0.0.1:99", "https://127.0.0.1:98")
    assert stack.overrides(elsewhere, Path("/elsewhere/ca.pem")) == {
        "KEY_VAULT_CA_FILE": "/elsewhere/ca.pem",
        "CONTROL_PLANE_ARM_ENDPOINT": "https://localhost:98",
        "CONTROL_PLANE_CA_FILE": "/elsewhere/ca.pem",
        "SERVICE__IMAGENET__PORT": "99",
        "SERVICE__IMAGENET_TENSOR__PORT": "99",
        "SERVICE__IMAGENET_OPEN__PORT": "99",
    }


def test_the_gateway_can_use_the_settings_file(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()

    read = settings.load({**stack.settings(), "KEY_VAULT_CA_FILE": str(ca), "CONTROL_PLANE_CA_FILE": str(ca)})

    assert [service.control_plane_name for service in read.services.values()] == [SERVICE, "", ""]
    assert read.services["imagenet"].certificate_secret == CERTIFICATE
    assert read.rotation
    account = stack.account(stack.settings())
    assert account == Account(read.rotation.subscription, read.rotation.group, read.rotation.account)


def test_a_damaged_settings_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "SETTINGS_FILE", tmp_path / "local.settings.json")
    message = r"has no setting CONTROL_PLANE_SUBSCRIPTION: restore it with git checkout local\.settings\.json"
    with pytest.raises(StackFailed, match=message):
        stack.settings()
    stack.SETTINGS_FILE.write_text("{")
    with pytest.raises(StackFailed, match=r"local\.settings\.json is not valid JSON: .* in line 1: correct it"):
        stack.settings()


def test_the_commands_of_the_runbooks_are_commands() -> None:
    lines = re.findall(r"`\.venv/bin/python -m devstack ([^`]+)`", (ROOT / "docs" / "operate.md").read_text())
    parse: dict[str, Any] = {
        "vault": vault_faults.Fault.parse,
        "control-plane": control_faults.Fault.parse,
        "service": lambda document: fpga_faults.parse(json.dumps(document).encode()),
    }

    assert len(lines) > 20
    for line in lines:
        options = commands.parse(shlex.split(line))
        assert options is not None
        if options.command == "fault" and options.fault:
            parse[options.part](options.fault)
