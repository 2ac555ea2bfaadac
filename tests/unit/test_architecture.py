"""Imports between the layers of the deployed code go in one direction, without cycles."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEPLOYED = ("function_app", "functions", "shared", "protos")

# The layers of the deployed code, lowest first: a module imports from its own layer and from lower ones.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "protos",
        "shared.errors",
        "shared.origins",
        "shared.quoting",
        "shared.backoff",
        "shared.threads",
        "shared.child_process",
        "shared.telemetry",
        "shared.control_plane",
    ),
    ("shared.settings",),
    ("shared.credentials",),
    ("shared.upstream",),
    ("shared.traffic",),
    ("shared.scoring",),
    ("shared.rotation",),
    ("shared.gateway", "shared.health", "shared.operations", "shared.preload", "shared.reporting"),
    ("functions",),
    ("function_app",),
)
# Packages that are not deployed; the deployed code must not import them.
NOT_DEPLOYED = ("benchmarks", "clients", "devstack", "tests", "tools")


def modules() -> Iterator[tuple[str, Path]]:
    for top in DEPLOYED:
        files = [ROOT / f"{top}.py"] if top == "function_app" else sorted((ROOT / top).rglob("*.py"))
        for file in files:
            yield ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), file


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            # "from shared import errors" imports shared.errors.
            for alias in node.names:
                path = ROOT.joinpath(*(node.module or "").split("."), alias.name)
                is_module = path.is_dir() or path.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def layer(module: str) -> int | None:
    return next((index for index, names in enumerate(LAYERS) if any(within(module, name) for name in names)), None)


MODULES: Mapping[str, Path] = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_from_their_own_or_lower_layers(module: str) -> None:
    own = layer(module)
    if module == "shared":
        return
    assert own is not None, f"{module} is in no layer"
    for name in imports(MODULES[module]):
        assert name.split(".")[0] not in NOT_DEPLOYED, f"{module} imports {name}"
        if name.split(".")[0] in DEPLOYED and name != "shared":
            other = layer(name)
            assert other is not None
            assert other <= own, f"{module} imports {name} from a higher layer"


def test_there_are_no_import_cycles() -> None:
    """Imports of a package by its own modules are ignored."""
    graph = {
        module: {name for name in imports(file) if name in MODULES and not within(module, name)}
        for module, file in MODULES.items()
    }

    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_control_plane_client_can_be_used_without_the_gateway() -> None:
    """It imports only the errors, and the helpers for messages and pauses."""
    own = {
        name
        for module, file in MODULES.items()
        if within(module, "shared.control_plane")
        for name in imports(file)
        if within(name, "shared") and not within(name, "shared.control_plane")
    }

    assert own == {"shared.errors", "shared.quoting", "shared.backoff"}


@pytest.mark.parametrize("module", [module for module in MODULES if not module.startswith("function")])
def test_only_the_triggers_import_azure_functions(module: str) -> None:
    assert not {name for name in imports(MODULES[module]) if within(name, "azure.functions")}


def test_golden_photographs_condemn_no_certificate() -> None:
    """Nothing of the rotation, or of the credentials, reads their result."""
    readers = {module for module, file in MODULES.items() if any("golden" in name for name in imports(file))}

    assert readers
    assert not [one for one in readers if within(one, "shared.rotation") or within(one, "shared.credentials")]
    assert not [one for one in calls("golden")["golden"] if within(one, "shared.rotation")]


def test_the_requirements_are_the_packages_that_the_deployed_code_imports() -> None:
    """Of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {line.split(">=")[0] for line in lines if line[:1].isalpha()}
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
    imported = {name for file in MODULES.values() for name in imports(file)}

    assert {package for name, package in packages.items() if any(within(one, name) for one in imported)} == required


def test_the_version_of_azure_functions_is_bounded() -> None:
    """functions/http/responses.py depends on the members of azure-functions 2.x's HttpResponse."""
    assert "azure-functions>=2.1,<3" in (ROOT / "requirements.txt").read_text().splitlines()


def calls(*names: str) -> Mapping[str, set[str]]:
    """The modules of the deployed code that mention each name other than in an import or an annotation."""
    return {
        name: {
            module
            for module, file in MODULES.items()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if (isinstance(node, ast.Attribute) and node.attr == name)
            or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name)
        }
        for name in names
    }


def test_trust_comes_from_few_places() -> None:
    """A connection with a key is verified with roots: pins, a named store, or a certificate whose key is at hand.

    What a handshake presents is no root: it holds no certificate.
    """
    assert calls("ssl_channel_credentials", "Roots", "Pins", "SSLContext", "CERT_NONE", "create_default_context") == {
        # The latter is the collector's channel: the named authority, or gRPC's store.
        "ssl_channel_credentials": {"shared.upstream.channel", "shared.telemetry.otlp_grpc"},
        "Roots": {"shared.rotation.validate"},
        "Pins": {"shared.credentials.pins", "shared.credentials.trust"},
        # Without a check, to see what is presented; nothing is sent over it.
        "SSLContext": {"shared.rotation.service_probe"},
        "CERT_NONE": {"shared.rotation.service_probe"},
        # To list the authorities of the operating system's store.
        "create_default_context": {"shared.credentials.trust"},
    }
