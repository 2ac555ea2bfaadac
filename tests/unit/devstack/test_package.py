"""When the package for Azure must be made again before it is run."""

import os
from pathlib import Path

import pytest

from devstack.package import is_current
from tools import dist

MADE = 2_000_000_000


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A small app in a folder; its lock file and its package beside it, all of one date."""
    app = tmp_path / "app"
    for name in ("function_app.py", "host.json", "shared/gateway.py", f"{dist.SITE_PACKAGES}/grpc/__init__.py"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()
    for missing in ("functions", "labels", "protos", "web"):
        (app / missing).mkdir()
    (tmp_path / "lock").touch()
    dist.write(app, tmp_path / "package.zip")
    for path in tmp_path.rglob("*"):
        os.utime(path, (MADE, MADE))
    return app


def current(app: Path) -> bool:
    return is_current(app.with_name("package.zip"), app, app.with_name("lock"))


def test_a_package_is_current_until_a_file_is_newer_added_or_removed(app: Path) -> None:
    assert current(app)

    for changed in (app.with_name("lock"), app / "shared" / "gateway.py"):
        os.utime(changed, (MADE + 1, MADE + 1))
        assert not current(app)
        os.utime(changed, (MADE, MADE))
    (app / "shared" / "new.py").touch()
    os.utime(app / "shared" / "new.py", (MADE, MADE))
    assert not current(app)
    (app / "shared" / "new.py").unlink()
    assert current(app)
    (app / "shared" / "gateway.py").unlink()
    assert not current(app)


def test_a_damaged_or_missing_package_is_not_current(app: Path) -> None:
    app.with_name("package.zip").write_bytes(b"PK")
    assert not current(app)
    app.with_name("package.zip").unlink()
    assert not current(app)
