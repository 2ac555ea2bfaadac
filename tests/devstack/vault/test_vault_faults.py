"""Faults on demand: which request they hit, when they end, how they wait."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from devstack.vault.errors import BadParameter
from devstack.vault.faults import Fault, Faults, Mode, pause

# Which request is hit.


def test_without_a_fault_nothing_is_hit() -> None:
    assert Faults().take("key") is None


def test_a_fault_of_no_named_secret_hits_every_request() -> None:
    faults = Faults()
    faults.switch(Fault(mode=Mode.ERROR))

    assert faults.take("key")
    assert faults.take(None)


def test_a_fault_of_named_secrets_hits_these_in_any_case_and_no_list() -> None:
    faults = Faults()
    faults.switch(Fault.parse({"mode": "error", "secrets": ["Key"]}))

    assert faults.take("KEY")
    assert faults.take("other") is None
    assert faults.take(None) is None


def test_a_counted_fault_ends_by_itself_and_counts_only_what_it_hits() -> None:
    faults = Faults()
    faults.switch(Fault(mode=Mode.ERROR, count=2, secrets=("key",)))

    hits = [faults.take(name) is not None for name in ("key", "other", "key", "key")]

    assert hits == [True, False, True, False]
    assert faults.describe() == {}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "mode must be one of"),
        ({"mode": "explode"}, "mode must be one of"),
        ({"mode": ["slow"]}, "mode must be one of"),
        ({"mode": "slow", "often": 1}, r"unknown fields \['often'\]"),
        ({"mode": "throttle", "retry_after": -1}, "retry_after must be a whole number, 0 or more"),
        ({"mode": "throttle", "retry_after": 1.5}, "retry_after must be"),
        ({"mode": "error", "count": 0}, "count must be a whole number, 1 or more"),
        ({"mode": "error", "count": True}, "count must be"),
        ({"mode": "slow", "delay": "1"}, "delay must be a number of seconds"),
        ({"mode": "slow", "delay": float("nan")}, "delay must be"),
        ({"mode": "error", "secrets": "key"}, "secrets must be a list of names"),
        ({"mode": "error", "secrets": [1]}, "secrets must be a list of names"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_field(document: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        Fault.parse(document)


# Waiting on purpose.


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nothing sets the event")


async def leaves() -> Message:
    return {"type": "http.disconnect"}


async def test_a_pause_that_nothing_ends_runs_its_time() -> None:
    assert await pause(stays, asyncio.Event(), 0.01)


async def test_a_pause_ends_when_the_client_goes_away() -> None:
    assert not await pause(leaves, asyncio.Event(), None)


async def test_a_pause_ends_when_the_server_stops_and_leaves_no_task() -> None:
    stopping = asyncio.Event()
    waiting = asyncio.create_task(pause(stays, stopping, None))
    await asyncio.sleep(0)

    stopping.set()

    assert not await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}
