import importlib.util
import subprocess
import sys

import pytest
from PIL import Image

from devstack.photos import PhotoError, photo


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea", "grace_hopper", "astronaut"])
def test_a_photograph_is_found_and_is_one(name: str) -> None:
    with Image.open(photo(name)) as image:
        assert min(image.size) >= 224


def test_the_packages_that_carry_them_are_not_run() -> None:
    program = (
        "import sys; from devstack.photos import photo; photo('coffee'); photo('grace_hopper');"
        "sys.exit(bool({'skimage', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PhotoError, match=r"no sample photograph 'tea'; there are .*coffee, .*rocket"):
        photo("tea")


def test_packages_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PhotoError, match=r"pip install --no-deps -r requirements-photos\.txt"):
        photo("coffee")
