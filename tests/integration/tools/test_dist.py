"""The package for Azure, built by the real pip from two of the locked packages."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import dist, lock

SITE = dist.SITE_PACKAGES.as_posix()


def small_lock(folder: Path, *, tampered: bool = False) -> Path:
    """The lock of two packages: one of Python alone, one with a compiled module."""
    entries = re.findall(r"(?:markupsafe|typing-extensions)==.*?\n(?=\w)", lock.LOCK.read_text(), re.DOTALL)
    assert len(entries) == 2
    text = "".join(entries)
    path = folder / "small.lock"
    path.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", text) if tampered else text)
    return path


def package(folder: Path, day: int, variables: pytest.MonkeyPatch) -> Path:
    """A package of a copy of the app in that folder, whose files have that date."""
    app = folder / "app"
    for name in dist.app_files(ROOT):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, app / name)
        os.utime(app / name, (day, day))
    (folder / "temporary").mkdir()
    variables.setenv("TMPDIR", str(folder / "temporary"))
    variables.setattr("tempfile.tempdir", None)
    dist.build(app, small_lock(folder), folder / "app.zip")
    return folder / "app.zip"


def test_two_folders_and_two_dates_make_one_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = (tmp_path / "one", tmp_path / "another-with-a-longer-name")
    for folder in folders:
        folder.mkdir()
    one, two = (
        package(folder, day, monkeypatch) for folder, day in zip(folders, (1_000_000_000, 1_700_000_000), strict=True)
    )

    assert hashlib.sha256(one.read_bytes()).hexdigest() == hashlib.sha256(two.read_bytes()).hexdigest()
    with zipfile.ZipFile(one) as archive:
        names = set(archive.namelist())
        texts = b"".join(archive.read(name) for name in names)
    assert {"function_app.py", "host.json", f"{SITE}/typing_extensions.py", f"{SITE}/markupsafe/__init__.py"} <= names
    assert f"{SITE}/markupsafe/_speedups.cpython-313-x86_64-linux-gnu.so" in names
    assert "shared/__pycache__/gateway.cpython-313.pyc" in names
    assert f"{SITE}/__pycache__/typing_extensions.cpython-313.pyc" in names
    assert not [name for name in names if name.endswith(("/RECORD", "/INSTALLER", ".pyi"))]
    assert not [name for name in names if re.search(r"(^|/)(tests|devstack|clients|benchmarks|tools|docs)/", name)]
    assert str(tmp_path).encode() not in texts
    printed = "\n".join(dist.contents(one))
    assert "markupsafe 3" in printed
    assert printed.endswith(hashlib.sha256(one.read_bytes()).hexdigest())


def test_the_bytecode_is_used_without_a_look_at_the_source(tmp_path: Path) -> None:
    """Azure mounts the package read-only, so what is not compiled already is compiled by every new instance."""
    app = tmp_path / "app"
    (app / "shared").mkdir(parents=True)
    (app / "shared" / "one.py").write_text("print('compiled')\n")
    (app / "function_app.py").touch()
    (app / "host.json").touch()
    dist.build(app, small_lock(tmp_path), tmp_path / "app.zip")
    shutil.unpack_archive(tmp_path / "app.zip", tmp_path / "deployed")
    (tmp_path / "deployed" / "shared" / "one.py").write_text("print('from source')\n")

    command = [sys.executable, "-B", "-c", "import shared.one"]
    ended = subprocess.run(command, cwd=tmp_path / "deployed", capture_output=True, text=True, check=True)

    assert ended.stdout == "compiled\n"


def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").touch()
    (app / "host.json").touch()

    with pytest.raises(subprocess.CalledProcessError):
        dist.build(app, small_lock(tmp_path, tampered=True), tmp_path / "app.zip")

    assert not (tmp_path / "app.zip").exists()
