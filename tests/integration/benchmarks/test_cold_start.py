"""The processes that the cold start measures."""

from pathlib import Path

import pytest

from benchmarks.cold_start.measure import Worker


def test_a_worker_finds_its_modules_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the package that is deployed; also on a machine whose environment has no .pyc files written."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    Worker({}, tmp_path / "image.jpg").bare()

    assert list((tmp_path / "bytecode").rglob("*.pyc"))
