"""infra/ is checked without a cloud: each check finds the fault that is planted for it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from shared.settings import load
from tests.conftest import ROOT
from tests.support.infra import bicep, settings
from tools.store_secrets import arguments

INFRA = ROOT / "infra"
PARAMETER_FILES = sorted(INFRA.rglob("*.parameters.json"))


def test_the_bicep_files_have_no_fault() -> None:
    assert bicep.faults(INFRA) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("app.bicep", "perInstanceConcurrency:", "instanceConcurrency:", "instanceConcurrency is not a property"),
        (
            "app.bicep",
            "instanceMemoryMB: instanceMemoryMB",
            "instanceMemoryMB: '2048'",
            "string '2048', where int is expected",
        ),
        ("app.bicep", "sites@2024-11-01' =", "sites@2014-11-01' =", "not a known resource type and version"),
        ("app.bicep", "minTlsVersion: '1.2'", "ftpsState: 'Disabled'", "ftpsState is refused by Flex Consumption"),
        (
            "app.bicep",
            "AUTH_LEVEL: authLevel",
            "FUNCTIONS_WORKER_RUNTIME: authLevel",
            "FUNCTIONS_WORKER_RUNTIME is refused",
        ),
        ("app.bicep", "type: 'blobContainer'", "type: 'container'", "'container' is none of blobContainer"),
        ("app.bicep", "serverFarmId: plan.id", "serverFarmId: plans.id", "plans is not declared"),
        ("app.bicep", "param tags object", "param tags object\nparam more string", "more is never used"),
        ("app.bicep", "output id string", "output id strin = ", "is not valid Bicep"),
        ("vault.bicep", "tenantId: subscription().tenantId", "", "tenantId is missing"),
        ("vault.bicep", "4633458b", "4633458c", "secretsUser is not the role"),
        ("vault.bicep", "location: location", "location: toUpper(location)", "toUpper is not declared"),
        (
            "endpoints.bicep",
            "for target in targets: {\n  name: target.zone",
            "for one in targets: {\n  name: target.zone",
            "target is not declared",
        ),
        ("storage.bicep", "kind: 'StorageV2'", "kind: 'StorageV3'", "'StorageV3' is none of"),
        ("main.bicep", "    rotation: rotation\n", "", "module vault misses rotation"),
        (
            "main.bicep",
            "    rotation: rotation\n",
            "    rotation: rotation\n    rotating: rotation\n",
            "has no parameter rotating",
        ),
        ("main.bicep", "storage.outputs.blobEndpoint", "storage.outputs.blob", "module storage has no output blob"),
        ("main.bicep", "'vault.bicep'", "'vaults.bicep'", "there is no vaults.bicep"),
        ("alerts.bicep", "monitoring/workbook.json", "monitoring/book.json", "there is no monitoring/book.json"),
        ("alerts.bicep", "serializedData:", "serialisedData:", "serializedData is missing"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    shutil.copytree(INFRA, tmp_path / "infra")
    path = tmp_path / "infra" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))

    assert any(fault in found for found in bicep.faults(tmp_path / "infra")), bicep.faults(tmp_path / "infra")


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_a_parameter_file_fits_and_its_settings_exist(path: Path) -> None:
    values = {name: one["value"] for name, one in json.loads(path.read_text())["parameters"].items()}

    assert list(bicep.parameter_faults(bicep.read(INFRA / "main.bicep"), values)) == []
    given = {
        name: re.sub(r"\$\{\w+=?(.*)\}", r"\1", value) or "host.example.com"
        for name, value in values["settings"].items()
    }
    assert settings.unknown(given) == set()
    load({**given, "KEY_VAULT_URL": "https://kv.vault.azure.net"})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"settings": None}, "settings is missing"),
        ({"memory": 2048}, "memory is not a parameter"),
        ({"instanceMemoryMB": 1024}, "instanceMemoryMB is none of [512, 2048, 4096]"),
        ({"instanceMemoryMB": "2048"}, "instanceMemoryMB is not of type int"),
        ({"authLevel": "none"}, "authLevel is none of"),
        ({"httpConcurrency": 0}, "httpConcurrency is out of range"),
    ],
)
def test_a_wrong_parameter_is_found(change: dict[str, object], fault: str) -> None:
    values = {"environmentName": "a", "location": "b", "settings": {}, **change}
    given = {name: value for name, value in values.items() if value is not None}

    assert any(fault in found for found in bicep.parameter_faults(bicep.read(INFRA / "main.bicep"), given))


def test_what_bicep_derives_are_settings_of_the_gateway() -> None:
    """All others come from the parameter `settings`, an object, so that there is none that cannot be set."""
    assert settings.unknown(bicep.settings_of(INFRA)) == set()
    assert bicep.read(INFRA / "main.bicep").parameters["settings"].kind == "object"
    assert "union(ownSettings, settings, hostSettings)" in (INFRA / "app.bicep").read_text()
    assert settings.declared() == settings.GLOBAL | settings.OF_A_SERVICE
    assert settings.unknown({"KEY_VAULT_URI", "SERVICE__A__ADRESS"}) == {"KEY_VAULT_URI", "SERVICE__A__ADRESS"}


def test_azure_yaml_names_files_and_outputs_that_exist() -> None:
    project = yaml.safe_load((ROOT / "azure.yaml").read_text())
    service = project["services"]["gateway"]
    outputs = bicep.read(INFRA / "main.bicep").outputs

    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").is_file()
    assert "'azd-service-name': 'gateway'" in (INFRA / "app.bicep").read_text()
    assert service["dist"] == ".dist/scoring-gateway.zip"
    for script in project["hooks"]["postdeploy"].values():
        text = (ROOT / script["run"]).read_text()
        used = set(re.findall(r"\$(?:env:|\{)?([A-Z_]{4,})", text)) - {"LASTEXITCODE"}
        assert used <= outputs
        assert {"ROTATION", "FUNCTION_APP_ID", "EVENT_TOPIC_NAME", "SECRETS_COMMAND", "NEXT_COMMAND"} <= used
        assert "functions/vault_event" in text


def test_the_command_for_the_first_secrets_is_one() -> None:
    """The command in an output of the deployment, as its own parser reads it."""
    [line] = [line for line in (INFRA / "main.bicep").read_text().splitlines() if "tools.store_secrets" in line]
    words = line.partition("'")[2].rstrip("'").split()

    options = arguments.parse(words[words.index("tools.store_secrets") + 1 :])

    assert words[:2] == ["python3.13", "-m"]
    assert options.settings is not None
    assert (ROOT / options.settings).is_file()
