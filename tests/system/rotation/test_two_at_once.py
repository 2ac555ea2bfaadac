"""Concurrent runs do one update, and one rotation of the keys."""

import asyncio

import pytest

from tests.support.rotation import RotationEnvironment
from tests.system.rotation.test_crashes import act, job


@pytest.mark.timeout(200)
async def test_three_runs_at_once_do_one_update(environment: RotationEnvironment) -> None:
    names = [f"contended-{number}" for number in range(6)]
    services = await asyncio.gather(*(asyncio.to_thread(environment.steady, name) for name in names))
    before = [one.served() for one in services]
    for one in services:
        one.offer()

    found = await act([job(one) for one in services for _ in range(3)])

    assert found == [["done"]] * len(found)
    for one, served in zip(services, before, strict=True):
        assert one.served() != served
        assert one.pinned() == {one.served()}
        assert one.updates() == 1


@pytest.mark.timeout(200)
async def test_three_runs_at_once_rotate_the_keys_once(environment: RotationEnvironment) -> None:
    names = [f"contended-keys-{number}" for number in range(4)]
    services = await asyncio.gather(*(asyncio.to_thread(environment.steady, name) for name in names))
    # One requests the rotation of the keys, and all continue it.
    for one in services:
        await asyncio.to_thread(one.rotation().run, 60, rotate_keys=True)

    found = await act([job(one) for one in services for _ in range(3)])

    assert found == [["done"]] * len(found)
    for one in services:
        versions = one.versions()
        assert (versions["primary-key"], versions["secondary-key"]) == (2, 2)
        assert environment.plane.keys({"id": one.id})[0] == one.vault.read(f"{one.name}-primary-key").value
