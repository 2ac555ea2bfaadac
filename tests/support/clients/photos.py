"""A folder of images for tests of clients."""

from pathlib import Path

import pytest


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with images, other files, hidden ones and subfolders."""
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", ".cache/c.jpg", "deep/er/d.heic", "deep/e.webp"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    return folder
