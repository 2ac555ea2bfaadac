"""Generates the Python code of protos/*.proto: ``python -m devstack.generate_protos [folder]``, or ``make protos``.

Message code and its types (``*_pb2.py``, ``*_pb2.pyi``) come for every file, client and server code
(``*_pb2_grpc.py``) for the files that declare a service. The same .proto files and tools give the same bytes.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).parent.parent


class GenerationFailed(Exception):
    """The compiler is missing, or refused a .proto file; the message holds its words."""


def generate(folder: Path = ROOT) -> list[Path]:
    """Write the generated code to ``folder/protos`` and return its files, sorted.

    Generated files there that no .proto file stands for any longer are removed. When the compiler
    refuses a file, nothing is touched.

    Raises:
        GenerationFailed: grpcio-tools is not installed, or a .proto file is wrong.
    """
    target = folder / "protos"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _compile_all(scratch)
        fresh = generated_files(scratch / "protos")
        target.mkdir(parents=True, exist_ok=True)
        for stale in generated_files(target):
            stale.unlink()
        return [Path(shutil.copyfile(file, target / file.name)) for file in fresh]


def generated_files(folder: Path) -> list[Path]:
    """The generated files in a folder, sorted by name."""
    return sorted(file for pattern in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py") for file in folder.glob(pattern))


def _compile_all(output: Path) -> None:
    description = output / "descriptors"
    _protoc(
        sorted((ROOT / "protos").glob("*.proto")),
        f"--python_out={output}",
        f"--pyi_out={output}",
        f"--descriptor_set_out={description}",
    )
    compiled = FileDescriptorSet.FromString(description.read_bytes())
    # A file without a service would get a file of client and server code with nothing in it.
    with_service = [ROOT / file.name for file in compiled.file if file.service]
    _protoc(with_service, f"--grpc_python_out={output}")


def _protoc(sources: Sequence[Path], *outputs: str) -> None:
    if find_spec("grpc_tools") is None:
        raise GenerationFailed("grpcio-tools is not installed here; `make protos` sets it up and runs this.")
    # A process of its own: the compiler writes its complaints straight to the process's stderr.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", *outputs, *map(str, sources)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise GenerationFailed(f"The compiler refused the .proto files; nothing was changed.\n{ran.stderr.strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m devstack.generate_protos", description="Generate protos/*_pb2*.")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT, help="where protos/ is written to (default: the project)"
    )
    try:
        files = generate(parser.parse_args(arguments).folder)
    except GenerationFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{len(files)} files written to {files[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
