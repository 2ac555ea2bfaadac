"""The rules of the vault's store that no client of the REST API sees in a moment: time, disk, damage, limits."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from devstack.rest.errors import BadRequest, DamagedFile
from devstack.vault import VaultStore, errors

DAY = 24 * 60 * 60


class Clock:
    """A clock that the test sets."""

    now = 1_800_000_000.7

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> VaultStore:
    return VaultStore(tmp_path / "secrets", clock=clock)


def test_the_latest_version_is_the_last_one_even_within_a_second(store: VaultStore, clock: Clock) -> None:
    first = store.set("My-Key", "one", expires=int(clock.now) - DAY)
    second = store.set("MY-KEY", "two", not_before=int(clock.now) + DAY)

    # Names ignore case and keep their first spelling; dates only inform.
    assert store.get("my-key") == second
    assert (second.name, first.created) == ("My-Key", second.created)
    assert store.get("my-key", first.id).value == "one"
    with pytest.raises(errors.SecretNotFound, match=r"\(name/id\) my-key/0000 was not found"):
        store.get("my-key", "0000")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"name": name}, "contains an invalid name") for name in ("", "a_b", "../a", "é", "a" * 128, "a\n")),
        ({"value": "é" * 12_801}, "maximum permitted length of 25600"),
        ({"content_type": "x" * 256}, "contentType is longer than 255"),
        ({"tags": {str(number): "" for number in range(16)}}, "tags has more than 15"),
        ({"tags": {"": "x" * 257}}, "tags has a name or a value of more than 256"),
    ],
)
def test_values_beyond_a_limit_are_refused(store: VaultStore, arguments: dict[str, Any], message: str) -> None:
    longest = store.set("a" * 127, "é" * 12_800)

    with pytest.raises(BadRequest, match=message):
        store.set(**{"name": "key", "value": "value", **arguments})

    assert store.list_latest() == [longest]
    # A backup cannot bring in a name that is a path.
    with pytest.raises(BadRequest, match="invalid name"):
        store.restore(store.backup(longest.name).replace(b"a" * 127, b"../a"))


def test_an_interrupted_or_failed_write_leaves_the_old_value(store: VaultStore, clock: Clock) -> None:
    version = store.set("key", "hunter2")
    assert stat.S_IMODE((store._folder / "key.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(store._folder.stat().st_mode) == 0o700
    assert "hunter2" not in f"{version!r}{store!r}"
    moved = store._folder.rename(store._folder.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        store.set("key", "lost")
    assert store.get("key") == version
    moved.rename(store._folder)

    (store._folder / "key.json.new").write_bytes(b'{"format": 1, "na')

    assert VaultStore(store._folder, clock=clock).get("key") == version
    assert [path.name for path in store._folder.iterdir()] == ["key.json"]


def document(**changes: Any) -> bytes:
    version = {"id": "0" * 32, "value": "v", "enabled": True, "created": 1, "updated": 1}
    version |= dict.fromkeys(("not_before", "expires", "content_type", "tags"))
    return json.dumps({"format": 1, "name": "key", "versions": [version], "deletion": None, **changes}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (document(format=2), "its format is not 1"),
        (document(versions=[]), "its versions are missing"),
        (document(name="other"), "it contains the secret other"),
    ],
)
def test_a_damaged_file_is_named_with_its_damage_and_the_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "key.json").write_bytes(content)
    with pytest.raises(DamagedFile) as damaged:
        VaultStore(tmp_path)

    assert str(damaged.value) == (
        f"the vault's file {tmp_path}/key.json is damaged ({reason}): "
        "restore it from a copy, or delete it to lose that one secret, and start again"
    )
