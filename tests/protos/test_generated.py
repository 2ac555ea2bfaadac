"""The generated code that is kept is what the .proto files give, and loads where it is deployed."""

import re
import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from devstack import generate_protos
from devstack.generate_protos import GenerationFailed, generate, generated_files, main

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "protos"


def test_generating_again_gives_the_same_bytes(tmp_path: Path) -> None:
    fresh = {file.name: file.read_bytes() for file in generate(tmp_path)}

    assert fresh == {file.name: file.read_bytes() for file in generated_files(KEPT)}


def test_client_and_server_code_is_kept_for_files_with_a_service_only() -> None:
    with_service = {
        file.stem for file in KEPT.glob("*.proto") if re.search(r"^service ", file.read_text(), re.MULTILINE)
    }

    assert {file.name for file in KEPT.glob("*_pb2_grpc.py")} == {f"{stem}_pb2_grpc.py" for stem in with_service}


def test_code_of_a_proto_file_that_is_gone_goes_too_and_nothing_else_does(tmp_path: Path) -> None:
    protos = tmp_path / "protos"
    protos.mkdir()
    for name in ("gone_pb2.py", "gone_pb2.pyi", "gone_pb2_grpc.py", "__init__.py", "kept.proto"):
        (protos / name).touch()

    generate(tmp_path)

    assert not list(protos.glob("gone*"))
    assert (protos / "__init__.py").exists()
    assert (protos / "kept.proto").exists()


def test_a_wrong_proto_file_is_refused_in_the_compiler_s_words_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(KEPT, tmp_path / "protos", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "protos" / "tensor.proto").write_text('syntax = "proto3"; message Broken { int32 a = 1, }')
    monkeypatch.setattr(generate_protos, "ROOT", tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "protos").iterdir()}

    assert main([str(tmp_path)]) == 1

    assert "protos/tensor.proto:1:" in capsys.readouterr().err
    assert before == {file: file.read_bytes() for file in (tmp_path / "protos").iterdir()}
    with pytest.raises(GenerationFailed, match="refused"):
        generate(tmp_path)


def test_the_command_says_where_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0

    assert str(tmp_path / "protos") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("package", "files", "generator"),
    [
        ("protobuf", "*_pb2.py", r"^# Protobuf Python Version: (\S+)$"),
        ("grpcio", "*_pb2_grpc.py", r"^GRPC_GENERATED_VERSION = '(\S+)'$"),
    ],
)
def test_no_file_needs_a_later_runtime_than_the_oldest_that_is_deployed(
    package: str, files: str, generator: str
) -> None:
    # Generated code refuses a runtime that is older than its generator, and the worker brings its own runtime.
    # The floors name no patch release, and those differ in no format.
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {each.name: each for each in (Requirement(line) for line in lines if line and line[0] != "#")}
    [floor] = [each.version for each in required[package].specifier if each.operator == ">="]

    for file in KEPT.glob(files):
        found = re.search(generator, file.read_text(), re.MULTILINE)
        assert found, file.name
        assert Version(found[1]).release[:2] <= Version(floor).release[:2], file.name
