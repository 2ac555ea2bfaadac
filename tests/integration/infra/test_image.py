"""The image, built by its own instructions on a stand-in base: what gets into it, and that the app is indexed there."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.infra import dockerfile
from tools import dist

DOCKERFILE = ROOT / "deploy" / "Dockerfile"

# As the host does first: the functions by their names, with what is installed in the image alone.
INDEX = """
import json, pathlib, function_app, grpc
names = [one.get_function_name() for one in function_app.app.get_functions()]
print(json.dumps({"names": names, "app": function_app.__file__, "grpc": grpc.__file__}))
"""


def allowed(folder: Path) -> set[str]:
    """What the ignore file lets through of a folder."""
    lines = Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if not line.startswith("#")]
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in names if not dockerfile.is_ignored(name, patterns)}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's folder with labels of a user's own, and with what must not be deployed."""
    folder = tmp_path_factory.mktemp("context")
    for name in (*dist.APP, "requirements.lock", "local.settings.json", "tools", "infra"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        elif source.exists():
            shutil.copyfile(source, folder / name)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "cats.txt").write_text("tabby\n")
    (folder / ".env").write_text("KEY=secret\n")
    (folder / "functions" / ".env").write_text("KEY=secret\n")
    return folder


def test_the_image_gets_what_the_package_has(context: Path) -> None:
    expected = {path.as_posix() for path in dist.app_files(context)}

    assert allowed(context) == expected | {"requirements.lock"}
    assert "labels/cats.txt" in expected


def test_what_is_not_allowed_stays_out() -> None:
    patterns = ["*", "!app", "!a.txt", "**/*.proto", "**/.*"]

    def ignored(name: str) -> bool:
        return dockerfile.is_ignored(name, patterns)

    assert [ignored(name) for name in ("app/x.py", "app/b/x.py", "a.txt")] == [False, False, False]
    assert [ignored(name) for name in ("b.txt", "other/app/x", "app/a.proto", "app/.git/x")] == [True] * 4


@pytest.mark.skipif(
    not os.environ.get("INFRA_BUILD"), reason="It takes half a minute: `make infra-check` sets INFRA_BUILD."
)
def test_the_image_is_built_and_the_app_indexed_in_it(context: Path, tmp_path: Path) -> None:
    image = dockerfile.build(DOCKERFILE, context, tmp_path)

    done = subprocess.run(
        [image.python, "-c", INDEX],
        cwd=image.path("."),
        env=image.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"score", "rotate", "vault_event"} <= set(found["names"])
    assert Path(found["app"]).is_relative_to(tmp_path)
    assert Path(found["grpc"]).is_relative_to(tmp_path / "base")
    assert image.environment["AzureWebJobsScriptRoot"] == image.folder == "/home/site/wwwroot"
    assert list(image.path("functions").glob("__pycache__/score.*.pyc"))
    assert image.path("labels/cats.txt").read_text() == "tabby\n"
    assert not image.path("/tmp/requirements.lock").exists()  # noqa: S108 - a path of the image
    assert image.user == "10001"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("COPY requirements.lock", "COPY requirements.txt", "COPY requirements.txt: nothing of that name gets into"),
        ("-m compileall", "-m compilealls", "No module named compilealls"),
        ("EXPOSE 8080", "EXPOSED 8080", "EXPOSED is not known"),
    ],
)
def test_a_planted_fault_is_found(context: Path, tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = DOCKERFILE.read_text()
    assert old in text
    path = tmp_path / "Dockerfile"
    # Nothing is installed: that is not what fails here.
    path.write_text(text.replace(old, new, 1).replace("RUN python -m pip", "RUN : pip"))
    shutil.copyfile(f"{DOCKERFILE}.dockerignore", f"{path}.dockerignore")

    with pytest.raises(AssertionError, match=fault):
        dockerfile.build(path, context, tmp_path / "image", pip=False)
