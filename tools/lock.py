"""Generates requirements.lock: the packages of requirements.txt and all that they need, one version each, with hashes.

The versions are those of constraints.txt, with which the tests run; the hashes are of the wheels for Linux on x86_64
and on aarch64, so that ``pip install --require-hashes`` installs these files and no others.

    python -m tools.lock
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"

MACHINES = ("x86_64", "aarch64")
# Of the GNU C library; the newest is that of Debian 12, the system of the Functions host's Python 3.13.
_LIBRARIES = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37)))
_HEAD = """\
# Generated from requirements.txt and constraints.txt by `make lock`; the wheels for Linux on x86_64 and aarch64.
# Install: python -m pip install --require-hashes --only-binary :all: -r requirements.lock
"""

type Package = tuple[str, str]


def platforms(machine: str) -> list[str]:
    """The tags of the platforms whose wheels run on Azure's Linux, for pip."""
    return [f"{library}_{machine}" for library in _LIBRARIES]


def main() -> None:
    """Write the file."""
    hashes: dict[Package, set[str]] = defaultdict(set)
    for machine in MACHINES:
        for package, digest in _resolved(machine):
            hashes[package].add(digest)
    LOCK.write_text(_HEAD + "".join(_lines(hashes)), encoding="utf-8")


def _resolved(machine: str) -> Iterator[tuple[Package, str]]:
    """The wheels that pip would install on such a machine: name and version, and the SHA-256."""
    options = [option for platform in platforms(machine) for option in ("--platform", platform)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        _pip(
            *("install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report), "--target", folder),
            *("--only-binary", ":all:", "--python-version", "3.13", "--implementation", "cp", *options),
            *("-r", str(ROOT / "requirements.txt"), "-c", str(ROOT / "constraints.txt")),
        )
        for item in json.loads(report.read_bytes())["install"]:
            metadata = item["metadata"]
            name = metadata["name"].lower().replace("_", "-")
            yield (name, metadata["version"]), item["download_info"]["archive_info"]["hashes"]["sha256"]


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)  # noqa: S603


def _lines(hashes: Mapping[Package, set[str]]) -> Iterator[str]:
    for (name, version), digests in sorted(hashes.items()):
        yield " \\\n    ".join([f"{name}=={version}", *_options(sorted(digests))]) + "\n"


def _options(digests: Sequence[str]) -> Iterator[str]:
    return (f"--hash=sha256:{digest}" for digest in digests)


if __name__ == "__main__":
    main()
