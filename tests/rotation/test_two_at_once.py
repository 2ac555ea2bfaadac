"""Timers that run twice, or thrice, at the same time do one update, and one rotation of the keys."""

import asyncio

import pytest

from tests.rotation.test_crashes import act, job, prepared
from tests.rotation.worlds import World


@pytest.mark.timeout(200)
async def test_three_runs_at_once_do_one_update(world: World) -> None:
    services = await asyncio.gather(*(prepared(world, f"contended-{number}") for number in range(6)))
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
async def test_three_runs_at_once_rotate_the_keys_once(world: World) -> None:
    services = await asyncio.gather(*(prepared(world, f"contended-keys-{number}") for number in range(4)))
    # One asks for the keys to be rotated, and all go on with it.
    for one in services:
        await asyncio.to_thread(one.rotator().tick, 60, rotate_keys=True)

    found = await act([job(one) for one in services for _ in range(3)])

    assert found == [["done"]] * len(found)
    for one in services:
        versions = one.versions()
        assert (versions["primary-key"], versions["secondary-key"]) == (2, 2)
        assert world.plane.keys({"id": one.id})[0] == one.vault.read(f"{one.name}-primary-key").value
