"""The clients import only the standard library, their requirements and their own modules."""

import re
import sys
import tomllib

import pytest

from tests.conftest import ROOT
from tests.unit.test_architecture import imports

CLIENTS = ("prediction-client", "scoring-client")

# Distributions whose modules have a different name.
MODULES = {"grpcio": "grpc", "protobuf": "google"}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_imports_exactly_its_requirements(client: str) -> None:
    folder = ROOT / "clients" / client
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.split(r"[<>=]", each, maxsplit=1)[0] for each in project["dependencies"]}
    own = client.replace("-", "_")

    third_party = {name.split(".")[0] for file in (folder / "src" / own).rglob("*.py") for name in imports(file)}

    assert third_party - sys.stdlib_module_names - {own} == {MODULES.get(name, name) for name in required}


def test_every_client_is_checked() -> None:
    assert {file.parent.name for file in (ROOT / "clients").glob("*/pyproject.toml")} == set(CLIENTS)
