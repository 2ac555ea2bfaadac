import stat
from pathlib import Path

import pytest

from devstack.host.errors import HostError
from devstack.host.functions import Function
from devstack.host.keys import FunctionKeys, load_keys

KEYS = FunctionKeys(master="m", default="d", system="s", functions={"mine": "own", "other": "not-mine"})


def _function(level: str) -> Function:
    return Function(
        name="mine", id="1", trigger={"type": "httpTrigger", "name": "req", "authLevel": level}, bindings=()
    )


@pytest.mark.parametrize(
    ("level", "admitted"),
    [
        ("ANONYMOUS", {"", "m", "d", "own", "not-mine", "x"}),
        ("FUNCTION", {"m", "d", "own"}),
        ("ADMIN", {"m"}),
    ],
)
def test_each_level_has_its_keys(level: str, admitted: set[str]) -> None:
    tried = ["", "m", "d", "s", "own", "not-mine", "x"]
    by_header = {key for key in tried if KEYS.admits(_function(level), {b"x-functions-key": key.encode()}, b"")}
    by_query = {key for key in tried if KEYS.admits(_function(level), {}, f"a=1&code={key}".encode())}
    assert by_header == by_query == (admitted if level != "ANONYMOUS" else set(tried))


def test_the_header_goes_before_the_query() -> None:
    assert not KEYS.admits(_function("FUNCTION"), {b"x-functions-key": b"wrong"}, b"code=own")


def test_the_masters_and_the_webhooks_keys() -> None:
    assert KEYS.admits_admin({b"x-functions-key": b"m"}, b"")
    assert not KEYS.admits_admin({b"x-functions-key": b"d"}, b"")
    assert KEYS.admits_webhook({}, b"code=s")
    assert not KEYS.admits_webhook({}, b"code=own")


def test_a_key_in_another_alphabet_is_only_wrong() -> None:
    assert not KEYS.admits(_function("FUNCTION"), {b"x-functions-key": b"\xff"}, b"")
    assert not KEYS.admits(_function("FUNCTION"), {}, b"code=%C3%A4")


def test_keys_are_made_once_and_kept_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "keys.json"
    made = load_keys(file, ["a"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_keys(file, ["a"]) == made
    assert len({made.master, made.default, made.system, made.functions["a"]}) == 4
    grown = load_keys(file, ["a", "b"])
    assert (grown.master, grown.functions["a"]) == (made.master, made.functions["a"])


def test_keys_are_not_shown() -> None:
    assert "own" not in repr(KEYS)
    assert "not-mine" not in repr(KEYS)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(HostError, match="delete the file"):
        load_keys(file, [])
