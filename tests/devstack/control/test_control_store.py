"""What the control plane remembers, without a process around it."""

import json
import re
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from devstack.control.errors import BadRequest, DamagedState, NameInUse
from devstack.control.records import BUILT_IN, CREATE, RUNNING, SUCCEEDED, ModelRecord, ServiceRecord
from devstack.control.store import ControlStore
from devstack.control.wire import page


def seeded(store: ControlStore, name: str = "one") -> ServiceRecord:
    return store.seed_service(name=name, primary_key="secret-1", secondary_key="secret-2", port=7001)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    store = ControlStore(tmp_path)
    service = seeded(store)
    model = ModelRecord(id="m", name="cats", version=1, url="file:x", form="logits", size=3, labels=3, created=1.0)
    operation = replace(store.new_operation(CREATE, service.id), state=SUCCEEDED, ended=2.0)
    store.save(model=model)
    store.save(operation=operation)

    again = ControlStore(tmp_path)

    assert again.services() == [service]
    assert again.models() == [BUILT_IN, model]
    assert again.operation(operation.id) == operation


def test_a_seed_is_for_the_first_time_only(tmp_path: Path) -> None:
    first = seeded(ControlStore(tmp_path))

    second = ControlStore(tmp_path).seed_service(name="one", primary_key="x", secondary_key="y", port=9)

    assert second == first


def test_names_are_unique_and_follow_the_rules(tmp_path: Path) -> None:
    store = ControlStore(tmp_path)
    seeded(store)

    with pytest.raises(NameInUse, match="one"):
        store.new_service(name="one", model_id="m", tls=False)
    for name in ("", "-x", "x-", "a b", "ä", "a" * 65, "a/b", "a\n"):
        with pytest.raises(BadRequest):
            store.new_service(name=name, model_id="m", tls=False)
    for name in ("a", "A.b_c-1", "a" * 64):
        assert store.new_service(name=name, model_id="m", tls=False).name == name


def test_no_record_shows_a_secret(tmp_path: Path) -> None:
    store = ControlStore(tmp_path)
    record = replace(seeded(store), chain="secret-3", key="secret-4")

    assert not re.search(r"secret-\d", f"{record!r}{store!r}")


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = ControlStore(tmp_path)
    service = seeded(store)
    (tmp_path / "control.json.new").mkdir()

    with pytest.raises(OSError, match=re.escape("control.json.new")):
        store.save(without_service=service.id)

    assert store.services() == [service]
    (tmp_path / "control.json.new").rmdir()
    assert ControlStore(tmp_path).services() == [service]


def test_a_service_and_the_end_of_its_operation_are_one_write(tmp_path: Path) -> None:
    store = ControlStore(tmp_path)
    service = store.new_service(name="one", model_id="m", tls=False)
    operation = replace(store.new_operation(CREATE, service.id), state=RUNNING)
    store.save(service=service, operation=operation)
    (tmp_path / "control.json.new").mkdir()

    with pytest.raises(OSError, match="new"):
        store.save(service=replace(service, state=SUCCEEDED), operation=replace(operation, state=SUCCEEDED))

    assert (store.services()[0].state, store.unfinished(service.id)) == ("Creating", operation)


def test_old_operations_are_forgotten_but_none_that_is_under_way(tmp_path: Path) -> None:
    clock = count(1)
    store = ControlStore(tmp_path, clock=lambda: float(next(clock)))
    running = store.new_operation(CREATE, "s")
    ended = [replace(store.new_operation(CREATE, "s"), state=SUCCEEDED) for _ in range(505)]
    # All at once, past the write of each: that is what takes the time.
    store._operations = {each.id: each for each in [running, *ended[:-1]]}

    store.save(operation=ended[-1])

    assert store.operation(running.id) == running
    assert store.operation(ended[0].id) is None
    assert store.operation(ended[-1].id) == ended[-1]


def test_what_an_interrupted_registration_left_is_removed(tmp_path: Path) -> None:
    left = ControlStore(tmp_path).model_folder("half")
    left.mkdir()
    (left / "model.zip").touch()

    ControlStore(tmp_path)

    assert not left.exists()


@pytest.mark.parametrize(
    "content",
    ["[]", '{"format": 2}', '{"format": 1, "services": {}, "models": [], "operations": []}', "\\xff", "[" * 10_000],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "control.json").write_text(content)

    with pytest.raises(DamagedState, match=re.escape(str(tmp_path))):
        ControlStore(tmp_path)


@pytest.mark.parametrize("member", ["id", "tls", "port", "secondary_key"])
def test_an_entry_that_lacks_something_is_refused(tmp_path: Path, member: str) -> None:
    seeded(ControlStore(tmp_path))
    document = json.loads((tmp_path / "control.json").read_text())
    del document["services"][0][member]
    (tmp_path / "control.json").write_text(json.dumps(document))

    with pytest.raises(DamagedState, match=member):
        ControlStore(tmp_path)


def model(number: int) -> ModelRecord:
    return replace(BUILT_IN, id=f"m{number}", created=float(number // 2))


def test_pages_neither_repeat_nor_skip_what_stays() -> None:
    models = [model(number) for number in range(6)]

    first, token = page(models, 2, None)
    # The last of the first page is deleted, and one is added.
    changed = [*models[:1], *models[2:], model(6)]
    second, token = page(changed, 2, token)
    third, token = page(changed, 3, token)

    assert [each.id for each in (*first, *second, *third)] == ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]
    assert token is None
