"""The package for Azure: which files are in it, and that a zip file depends on names and bytes alone."""

import os
import zipfile
from pathlib import Path

from tests.conftest import ROOT
from tools import dist


def ignored() -> set[str]:
    """The names at the top that .funcignore leaves out, for tools that deploy the folder itself."""
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    names = {line.rstrip("/") for line in lines if line and not line.startswith(("#", "!"))}
    return {path.name for path in ROOT.iterdir() if any(path.match(name) for name in names)}


def test_everything_is_either_packed_or_ignored() -> None:
    packed = {path.parts[0] for path in dist.app_files(ROOT)}
    present = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}

    assert packed == present - ignored() - {"requirements.txt"}
    assert packed == {"function_app.py", "host.json", "functions", "protos", "shared", "web"}


def test_generated_code_is_packed_and_what_it_comes_from_is_not() -> None:
    names = {path.as_posix() for path in dist.app_files(ROOT)}

    assert {"protos/serving_pb2.py", "shared/scoring/label_lists/imagenet.txt", "web/index.html"} <= names
    assert not [name for name in names if name.endswith((".proto", ".pyi", ".pyc", ".md"))]


def test_labels_and_golden_photographs_of_ones_own_are_packed(tmp_path: Path) -> None:
    for name in ("function_app.py", "host.json", "labels/cats.txt", "labels/.hidden", "golden/a.png", "notes/cats.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    names = [path.as_posix() for path in dist.app_files(tmp_path)]

    assert names == ["function_app.py", "host.json", "golden/a.png", "labels/cats.txt"]


def test_a_zip_file_knows_no_dates_and_no_order(tmp_path: Path) -> None:
    for folder, order, day in (("one", ("a/x.py", "b.py"), 1_000_000_000), ("two", ("b.py", "a/x.py"), 1_600_000_000)):
        for name in order:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(0o600 if folder == "one" else 0o755)
            os.utime(path, (day, day))
        dist.write(tmp_path / folder, tmp_path / f"{folder}.zip")

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == ["a/x.py", "b.py"]
        assert archive.read("a/x.py") == b"a/x.py"
