"""The OpenAPI document as generators need it: without findings of linters, and without names that TypeScript has."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.system.clients.generators.test_generated_clients import ENVIRONMENT, HERE, PACKAGES

DOCUMENT = ROOT / "web" / "openapi.json"
LINTERS = {
    "redocly": ("redocly", "lint", "--config", "redocly.yaml"),
    "spectral": ("spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint"),
}
# No request to their makers.
OFFLINE = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def lint(name: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [*LINTERS[name], str(path)]
    return subprocess.run(
        command, cwd=HERE, env={**ENVIRONMENT, **OFFLINE}, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize("name", LINTERS)
def test_a_linter_finds_nothing(name: str) -> None:
    ended = lint(name, DOCUMENT)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", LINTERS)
def test_a_linter_finds_a_fault(name: str, tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    document["paths"]["/api/score"]["post"].pop("operationId")
    faulty = tmp_path / "openapi.json"
    faulty.write_text(json.dumps(document), encoding="utf-8")

    ended = lint(name, faulty)

    assert ended.returncode == 1
    assert "operation-operationId" in ended.stdout + ended.stderr


def test_no_schema_hides_a_type_of_the_browser_or_of_javascript() -> None:
    libraries = [PACKAGES / "typescript" / "lib" / f"lib.{name}.d.ts" for name in ("dom", "es5")]
    declared = {
        name
        for library in libraries
        for name in re.findall(
            r"^(?:declare )?(?:interface|var|type|class) (\w+)", library.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {"Image", "Response", "Error"} <= declared

    schemas = json.loads(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    assert schemas.keys() & declared == set()


def test_the_lock_file_has_hashes_and_no_urls() -> None:
    """Without URLs, npm uses the configured registry; the hashes pin the contents."""
    packages = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    locked = [package for name, package in packages.items() if name and not package.get("inBundle")]

    assert [package for package in locked if "resolved" in package] == []
    assert [package for package in locked if not package["integrity"].startswith("sha512-")] == []
