"""Modules are imported ahead of the first request, which can end that."""

import sys
import threading
from pathlib import Path

import pytest

from shared.preload import Preload

# Longer than a test waits.
NEVER = 600.0


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three modules; the second raises an exception."""
    monkeypatch.syspath_prepend(str(tmp_path))
    sources = {"ahead_one": "", "ahead_fails": "1 / 0", "ahead_two": "import ahead_one"}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
    return list(sources)


def imported(modules: list[str]) -> list[str]:
    return [name for name in modules if name in sys.modules]


def test_all_are_imported_but_one_that_fails(modules: list[str]) -> None:
    preload = Preload(modules, 0)

    preload.begin()
    preload._thread.join()

    assert imported(modules) == ["ahead_one", "ahead_two"]
    preload.stop()


def test_a_request_that_comes_first_imports_them_itself(modules: list[str]) -> None:
    preload = Preload(modules, NEVER)
    preload.begin()

    preload.stop()

    assert imported(modules) == []
    assert not preload._thread.is_alive()


def test_a_request_that_comes_in_between_waits_for_one_only(
    tmp_path: Path, modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    imports, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "ahead", (imports, goes_on), raising=False)
    (tmp_path / "ahead_one.py").write_text("import threading\nthreading.ahead[0].set()\nthreading.ahead[1].wait(60)\n")
    preload = Preload(modules, 0)
    preload.begin()
    imports.wait(60)

    request = threading.Thread(target=preload.stop)
    request.start()
    assert preload._stopping.wait(60)
    goes_on.set()
    request.join(60)

    assert imported(modules) == ["ahead_one"]


def test_a_process_that_cannot_start_a_thread_does_without(modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fails)
    preload = Preload(modules, 0)

    preload.begin()
    preload.stop()

    assert imported(modules) == []
