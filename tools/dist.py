"""Makes the package that is deployed to Azure Functions: the app with its dependencies, compiled, as one zip file.

    python -m tools.dist [FILE]

The same sources and the same Python make the same bytes, on any day and in any folder: the dependencies are the wheels
of requirements.lock, for Linux and CPython 3.13 on x86_64, and nothing in the zip has a date. The bytecode is in it
because Azure mounts the package read-only: without it, every new instance would compile all modules again. Folders
``labels`` and ``golden`` of your own, which settings such as SERVICE__CATS__LABELS=labels/cats.txt refer to, are packed
too.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.lock import LOCK, ROOT, platforms

DEFAULT = ROOT / ".dist" / "scoring-gateway.zip"
SITE_PACKAGES = Path(".python_packages/lib/site-packages")

APP = ("function_app.py", "host.json", "functions", "golden", "labels", "protos", "shared", "web")
_NOT_DEPLOYED = frozenset({".proto", ".pyc", ".pyi"})
# What pip writes beside a wheel's files: commands with the path of this Python, and records of them.
_OF_PIP = frozenset({"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"})
# Part of a zip file's format: it knows no earlier date.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def main(target: str = str(DEFAULT)) -> int:
    """Write the package, and print what is in it; returns the exit code."""
    if sys.version_info[:2] != (3, 13):
        print(f"Python 3.13 is needed, since the package has its bytecode; this is {sys.version.split()[0]}.")
        return 1
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    build(ROOT, LOCK, path)
    print("\n".join(contents(path)))
    return 0


def build(root: Path, lock: Path, target: Path) -> None:
    """Write the package of the app in a folder, with the packages that a lock file names."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder).resolve()
        for name in app_files(root):
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, stage / name)
        _install(lock, stage / SITE_PACKAGES)
        _prune(stage / SITE_PACKAGES)
        _compile(stage)
        write(stage, target)


def app_files(root: Path) -> Iterator[Path]:
    """The app's own files that are deployed, relative to its folder."""
    for name in APP:
        top = root / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            relative = path.relative_to(root)
            hidden = any(part.startswith(".") for part in relative.parts)
            if path.is_file() and not hidden and path.suffix not in _NOT_DEPLOYED:
                yield relative


def write(folder: Path, target: Path) -> None:
    """A zip file of a folder, the same for the same names and bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(name, _NO_DATE)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())


def contents(package: Path) -> Iterator[str]:
    """Lines about a package: the app's parts, its dependencies, its size and its hash."""
    with zipfile.ZipFile(package) as archive:
        files = archive.infolist()
    sizes: Counter[str] = Counter()
    for file in files:
        sizes[_part(file.filename)] += file.file_size
    yield from (f"{size:>12,}  {part}" for part, size in sorted(sizes.items()))
    yield ""
    yield f"{len(files)} files; with {', '.join(_distributions(file.filename for file in files))}"
    yield f"{package.stat().st_size:,} bytes  {package}"
    yield f"sha256  {hashlib.sha256(package.read_bytes()).hexdigest()}"


def _part(name: str) -> str:
    site = f"{SITE_PACKAGES.as_posix()}/"
    top = name.removeprefix(site).partition("/")[0]
    return f"site-packages/{top}" if name.startswith(site) else top


def _distributions(names: Iterable[str]) -> list[str]:
    suffix = ".dist-info/METADATA"
    found = {name.removesuffix(suffix).rpartition("/")[2].replace("-", " ") for name in names if name.endswith(suffix)}
    return sorted(found)


def _install(lock: Path, target: Path) -> None:
    machine = [option for platform in platforms("x86_64") for option in ("--platform", platform)]
    _python(
        *("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(target), "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.13"),
        *("--implementation", "cp", *machine, "-r", str(lock)),
    )


def _prune(site: Path) -> None:
    """Remove what no app imports, and what differs from one machine to another."""
    shutil.rmtree(site / "bin", ignore_errors=True)
    for tests in [path for path in site.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)
    for path in site.rglob("*"):
        if path.suffix == ".pyi" or (path.name in _OF_PIP and path.parent.suffix == ".dist-info"):
            path.unlink()


def _compile(stage: Path) -> None:
    """Compile all modules: valid by the hash of their source, and without the path of this folder in them."""
    _python("-m", "compileall", "-q", "-s", str(stage), "--invalidation-mode", "unchecked-hash", str(stage))


def _python(*arguments: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, *arguments], check=True, env=environment)  # noqa: S603


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description="Make the package for Azure Functions.")
    parser.add_argument("file", nargs="?", default=str(DEFAULT), help="where to write it (default: %(default)s)")
    sys.exit(main(parser.parse_args().file))
