"""The package for Azure, made where the app has changed since, and unpacked: what ``up --worker-process`` runs."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

from devstack.errors import CommandError
from tools import dist
from tools.lock import LOCK, ROOT

UNPACKED = ROOT / ".devstack" / "package"


def unpack() -> Path:
    """A folder with the app as it is deployed.

    Raises:
        CommandError: the package cannot be made.
    """
    package = dist.DEFAULT
    if not is_current(package, ROOT, LOCK):
        print(f"Making the package {package.relative_to(ROOT)} (once for each change, 20 seconds) ...", flush=True)
        package.parent.mkdir(exist_ok=True)
        try:
            dist.build(ROOT, LOCK, package)
        except subprocess.CalledProcessError as error:
            raise CommandError(f"The package cannot be made: {error}") from None
    folder = UNPACKED / hashlib.sha256(package.read_bytes()).hexdigest()[:16]
    if not folder.is_dir():
        shutil.rmtree(UNPACKED, ignore_errors=True)
        fresh = folder.with_suffix(".new")
        shutil.unpack_archive(package, fresh)
        fresh.replace(folder)
    return folder


def is_current(package: Path, root: Path, lock: Path) -> bool:
    """Whether a package has the app's present files, none of which is newer."""
    try:
        made = package.stat().st_mtime
        with zipfile.ZipFile(package) as archive:
            packed = {name for name in archive.namelist() if "__pycache__" not in name}
    except (OSError, zipfile.BadZipFile):
        return False
    site = f"{dist.SITE_PACKAGES.as_posix()}/"
    files = list(dist.app_files(root))
    own = {name for name in packed if not name.startswith(site)}
    return own == {file.as_posix() for file in files} and all(
        file.stat().st_mtime <= made for file in (lock, *(root / file for file in files))
    )
