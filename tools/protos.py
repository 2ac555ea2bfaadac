"""``python -m tools.protos``, or ``make protos``: generates the Python code of the .proto files.

For every file it writes the messages' code and, where Python can express them, its types (``*_pb2.py``,
``*_pb2.pyi``). The same .proto files and tools give the same bytes.
"""

import ast
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The Python packages with .proto files.
PACKAGES = (Path("protos"), Path("devstack/functions_worker"), Path("clients/prediction-client/src/prediction_client"))


class GenerationFailed(Exception):
    """The compiler rejected a .proto file; the message has its output."""


def generate(source: Path = ROOT, target: Path = ROOT) -> list[Path]:
    """Generate the code of all packages below ``source``, and return its files below ``target``.

    Generated files there without a .proto file are removed. If the compiler rejects a file, nothing is changed.

    Raises:
        GenerationFailed: a .proto file is wrong.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for package in PACKAGES:
            _compile(source / package, scratch)
        return [file for package in PACKAGES for file in _replace(target / package, Path(scratch, package.name))]


def generated_files(folder: Path) -> list[Path]:
    """The generated files in a folder, sorted by name."""
    return sorted(file for pattern in ("*_pb2.py", "*_pb2.pyi") for file in folder.glob(pattern))


def _compile(package: Path, output: str) -> None:
    # In a separate process: the compiler writes its errors directly to the process's stderr.
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{package.parent}"]
    command += [f"--python_out={output}", f"--pyi_out={output}", *map(str, sorted(package.glob("*.proto")))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the project's own files
    if ran.returncode != 0:
        raise GenerationFailed(f"The compiler rejected the .proto files; nothing was changed.\n{ran.stderr.strip()}")
    for stub in Path(output, package.name).glob("*_pb2.pyi"):
        try:
            ast.parse(stub.read_text())
        except SyntaxError:  # a name in the .proto file is a keyword of Python
            stub.unlink()


def _replace(target: Path, fresh: Path) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    for stale in generated_files(target):
        stale.unlink()
    return [Path(shutil.copyfile(file, target / file.name)) for file in generated_files(fresh)]


def main() -> int:
    """Write the code; returns the exit code, 1 with the reason on stderr."""
    try:
        generate()
    except GenerationFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
