"""Builds a Dockerfile without a container: its COPY and RUN lines, in a folder that stands for the image.

The base is this machine's Python in an environment of its own. Paths below the image's folders are rewritten to those
here, since nothing is confined: only for a Dockerfile of one's own.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath


@dataclass
class Image:
    """What was built: ``root`` stands for ``/``, ``environment`` is that of ``ENV``, ``folder`` that of ``WORKDIR``."""

    root: Path
    context: Path
    ignored: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"

    @property
    def python(self) -> Path:
        return self.root / "base" / "bin" / "python"

    def path(self, name: str) -> Path:
        """A path of the image, which is relative to its folder if it is not absolute."""
        return self.root / str(PurePosixPath(self.folder) / name).lstrip("/")

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the shell as ``RUN`` does."""
        # The absolute paths that this Dockerfile uses are below these.
        local = re.sub(r"(?<=\s)/(?=(tmp|home)/)", f"{self.root}/", f" {command}")
        environment = {**os.environ, **self.environment, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        environment.pop("PYTHONPATH", None)
        # Half of the time, and nothing that a build can fail at.
        environment |= {"PIP_NO_COMPILE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        # Wheels that an earlier run has fetched are taken from pip's cache; the image has none of its own.
        local = local.replace("--no-cache-dir ", "")
        folder = self.path(".")
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            ["/bin/sh", "-ec", local], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )


def build(dockerfile: Path, context: Path, root: Path, *, pip: bool = True) -> Image:
    """Run the instructions of a Dockerfile, in their order; ``pip`` says whether the base has it.

    Raises:
        AssertionError: one failed, or is not known here.
    """
    lines = Path(f"{dockerfile}.dockerignore").read_text().splitlines()
    image = Image(root, context, [line for line in lines if line and not line.startswith("#")])
    subprocess.run([sys.executable, "-m", "venv", *([] if pip else ["--without-pip"]), root / "base"], check=True)
    for instruction, rest in instructions(dockerfile.read_text()):
        _do(image, instruction, rest)
    return image


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions with what follows them, without comments, lines joined."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", plain).splitlines()
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined if line.strip()]


def _do(image: Image, instruction: str, rest: str) -> None:
    match instruction:
        case "ARG" | "FROM" | "EXPOSE":
            pass
        case "WORKDIR":
            image.folder = rest
        case "USER":
            image.user = rest
        case "ENV":
            image.environment |= dict(pair.split("=", 1) for pair in rest.split())
        case "COPY":
            *sources, target = rest.split()
            for source in sources:
                _copy(image, source, target)
        case "RUN":
            done = image.run(rest)
            assert done.returncode == 0, f"RUN {rest}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
        case _:
            raise AssertionError(f"{instruction} is not known here")


def _copy(image: Image, source: str, target: str) -> None:
    """Copy a file, or what is in a folder, of what the ignore file lets through."""
    top = image.context / source
    files = [path for path in _files(image) if path == top or top in path.parents]
    assert files, f"COPY {source}: nothing of that name gets into the build"
    for path in files:
        into = image.path(target)
        if path != top:
            into /= path.relative_to(top)
        elif target.endswith(("/", ".")):
            into /= path.name
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, into)


def _files(image: Image) -> list[Path]:
    tops = [path for path in image.context.iterdir() if not is_ignored(path.name, image.ignored)]
    below = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*"))]
    names = {path: path.relative_to(image.context).as_posix() for path in below if path.is_file()}
    return sorted(path for path, name in names.items() if not is_ignored(name, image.ignored))


def is_ignored(name: str, patterns: list[str]) -> bool:
    """Whether a path stays out of the build: the last pattern that matches it, or a folder above it, decides."""
    above = [name, *map(str, PurePosixPath(name).parents)][:-1]
    found = False
    for pattern in patterns:
        plain = pattern.removeprefix("!")
        if any(_matches(one, plain) for one in above):
            found = not pattern.startswith("!")
    return found


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(PurePosixPath(name).name, pattern.removeprefix("**/"))
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)
