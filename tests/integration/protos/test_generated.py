"""The committed generated code is current, and supports the oldest required runtime."""

import re
import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.conftest import ROOT
from tools import protos
from tools.protos import PACKAGES, generate, generated_files, main

PROTOS = ROOT / "protos"


def test_the_committed_code_is_current(tmp_path: Path) -> None:
    fresh = {file.relative_to(tmp_path): file.read_bytes() for file in generate(target=tmp_path)}
    committed = [file for package in PACKAGES for file in generated_files(ROOT / package)]

    assert fresh == {file.relative_to(ROOT): file.read_bytes() for file in committed}


def test_only_the_code_of_deleted_proto_files_is_removed(tmp_path: Path) -> None:
    protos = tmp_path / "protos"
    protos.mkdir()
    for name in ("deleted_pb2.py", "deleted_pb2.pyi", "__init__.py", "other.proto"):
        (protos / name).touch()

    generate(target=tmp_path)

    assert not list(protos.glob("deleted*"))
    assert (protos / "__init__.py").exists()
    assert (protos / "other.proto").exists()


def test_an_invalid_proto_file_is_reported_by_the_compiler_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "protos" / "tensor.proto").write_text('syntax = "proto3"; message Broken { int32 a = 1, }')
    before = {file: file.read_bytes() for file in (tmp_path / "protos").iterdir()}
    monkeypatch.setattr(protos, "generate", lambda: generate(tmp_path, tmp_path))

    assert main() == 1

    assert "protos/tensor.proto:1:" in capsys.readouterr().err
    assert before == {file: file.read_bytes() for file in (tmp_path / "protos").iterdir()}


def test_the_code_supports_the_oldest_required_runtime() -> None:
    # Generated code rejects a runtime that is older than its generator, and the worker has its own runtime.
    # The lower bound has no patch release; patch releases do not change formats.
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {each.name: each for each in (Requirement(line) for line in lines if line and line[0] != "#")}
    [lower_bound] = [each.version for each in required["protobuf"].specifier if each.operator == ">="]

    for file in (file for package in PACKAGES for file in (ROOT / package).glob("*_pb2.py")):
        found = re.search(r"^# Protobuf Python Version: (\S+)$", file.read_text(), re.MULTILINE)
        assert found, file.name
        assert Version(found[1]).release[:2] <= Version(lower_bound).release[:2], file.name
