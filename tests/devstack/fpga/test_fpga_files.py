import logging
import os
from pathlib import Path

import pytest

from devstack.fpga.files import Watched


def number(data: bytes) -> int:
    return int(data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def replace(path: Path, text: str) -> None:
    """Write a file as a careful program does. A new file has another inode, so that no clock plays a part."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def test_a_file_that_stays_means_nothing_new(file: Path) -> None:
    watched = Watched((file,), number)
    assert (watched.read(), watched.poll(), watched.poll()) == (1, None, None)


def test_a_file_that_changes_is_read_once(file: Path) -> None:
    watched = Watched((file,), number)
    watched.read()
    replace(file, "2")
    assert (watched.poll(), watched.poll()) == (2, None)


def test_a_change_in_place_is_seen_though_the_size_stays(file: Path) -> None:
    watched = Watched((file,), number)
    watched.read()
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert watched.poll() == 2


def test_a_file_half_written_is_passed_over_until_it_is_whole(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched((file,), number)
    watched.read()
    replace(file, "")
    assert (watched.poll(), watched.poll()) == (None, None)
    assert [record.message for record in caplog.records] == [
        "number changed but is not usable (invalid literal for int() with base 10: b''): the old one stays"
    ]
    replace(file, "2")
    assert watched.poll() == 2


def test_a_file_that_goes_and_comes_back_is_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched((file,), number)
    watched.read()
    file.unlink()
    assert watched.poll() is None
    assert "cannot be read (No such file or directory): the old one stays" in caplog.text
    file.write_text("3")
    assert watched.poll() == 3


def test_absence_can_have_a_meaning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    watched = Watched((file,), number, missing=-1)
    watched.read()
    file.unlink()
    assert (watched.poll(), watched.poll()) == (-1, None)
    assert not caplog.records


def test_two_files_mean_something_together(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other"
    other.write_text("1")

    def equal(first: bytes, second: bytes) -> bytes:
        if first != second:
            raise ValueError("they differ")
        return first

    watched = Watched((file, other), equal)
    watched.read()
    replace(file, "2")
    assert watched.poll() is None
    replace(other, "2")
    assert watched.poll() == b"2"
