"""Sample photographs, which some installed packages contain.

No code of those packages is run, so they may be installed without their dependencies.
"""

import importlib.util
from pathlib import Path

from devstack.errors import CommandError

# Packages and folders, in the order of the search.
_FOLDERS = (
    ("skimage", "data"),
    ("matplotlib", "mpl-data/sample_data"),
)
_SUFFIXES = (".png", ".jpg")


class PhotoError(CommandError, LookupError):
    """A photograph is missing; the message says what to install, or which names there are."""


def photo(name: str) -> Path:
    """The file of a photograph, by its name without suffix: ``coffee``, ``rocket``, ``chelsea``, ``grace_hopper``.

    Raises:
        PhotoError: no installed package has it.
    """
    photos = available()
    if name in photos:
        return photos[name]
    if not photos:
        raise PhotoError("no sample photographs are installed: run `pip install --no-deps -r requirements-photos.txt`")
    raise PhotoError(f"there is no sample photograph {name!r}; there are {', '.join(sorted(photos))}")


def available() -> dict[str, Path]:
    """Every sample photograph that is installed, by name."""
    files = (
        file
        for package, folder in _FOLDERS
        for file in sorted(_folder(package, folder).glob("*"))
        if file.suffix in _SUFFIXES
    )
    photos: dict[str, Path] = {}
    for file in files:
        photos.setdefault(file.stem, file)
    return photos


def _folder(package: str, folder: str) -> Path:
    """A package's folder of photographs; one that does not exist when the package is missing."""
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        return Path(location) / folder
    return Path(package, folder)
