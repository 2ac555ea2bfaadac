"""The rooms of the house, and which way the doors between them open."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEPLOYED = {"function_app", "functions", "shared", "protos"}

# What a room may import of the project; a room stands for all below it, and the longest name that fits decides.
ALLOWED = {
    "function_app": {"functions"},
    "functions": {"functions", "shared"},
    "shared": {"shared"},
    "shared.scoring": {
        *("protos", "shared.admission", "shared.errors", "shared.scoring"),
        *("shared.settings", "shared.settings_reader", "shared.telemetry"),
    },
    "shared.trust": {"shared.errors", "shared.settings", "shared.telemetry", "shared.trust"},
    "shared.fpga": {
        *("protos", "shared.admission", "shared.errors", "shared.fpga", "shared.settings", "shared.telemetry"),
        "shared.trust",
    },
    "shared.admission": {"shared.errors", "shared.telemetry"},
    "shared.errors": set(),
    "shared.settings": {"shared.errors", "shared.settings_reader"},
    "shared.settings_reader": set(),
    "shared.telemetry": set(),
    "protos": {"protos"},
}
OWN = {"benchmarks", "devstack", "function_app", "functions", "protos", "shared", "tests"}


def modules() -> Iterator[tuple[str, Path]]:
    for top in sorted(DEPLOYED):
        files = [ROOT / f"{top}.py"] if top == "function_app" else sorted((ROOT / top).rglob("*.py"))
        for file in files:
            yield ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), file


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            # "from shared import errors" brings in shared.errors.
            for alias in node.names:
                path = ROOT.joinpath(*(node.module or "").split("."), alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def fits(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize(("module", "file"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_one_way(module: str, file: Path) -> None:
    room = max((room for room in ALLOWED if fits(module, room)), key=len)
    own = {name for name in imports(file) if name.split(".")[0] in OWN}

    assert {name for name in own if not any(fits(name, allowed) for allowed in ALLOWED[room])} == set()


@pytest.mark.parametrize(("module", "file"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_only_the_triggers_know_azure_functions(module: str, file: Path) -> None:
    if not module.startswith("function"):
        assert not {name for name in imports(file) if fits(name, "azure.functions")}


def test_what_is_deployed_is_required() -> None:
    """Every package that the deployed code imports is named in requirements.txt, and no other."""
    named = {line.split(">=")[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalpha()}
    packages = {
        "PIL": "pillow",
        "azure.core": "azure-core",
        "azure.functions": "azure-functions",
        "azure.identity": "azure-identity",
        "azure.keyvault": "azure-keyvault-secrets",
        "cryptography": "cryptography",
        "google.protobuf": "protobuf",
        "grpc": "grpcio",
        "numpy": "numpy",
        "orjson": "orjson",
        "pillow_heif": "pillow-heif",
        "urllib3": "urllib3",
        "werkzeug": "werkzeug",
    }
    imported = {name for _, file in modules() for name in imports(file)}

    assert {package for room, package in packages.items() if any(fits(name, room) for name in imported)} == named
