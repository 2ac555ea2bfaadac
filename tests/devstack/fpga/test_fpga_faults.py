import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from devstack.fpga import faults
from devstack.fpga.faults import Faults, FaultSwitch
from devstack.fpga.requests import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

SCORES = np.ones((2, 1000), np.float32)


def not_expected() -> None:
    pytest.fail("connections were dropped")


async def statuses(switch: FaultSwitch, calls: int) -> list[grpc.StatusCode | None]:
    """What so many calls are answered with before they are scored; None where nothing is in their way."""
    result: list[grpc.StatusCode | None] = []
    for _ in range(calls):
        try:
            await switch.before(not_expected)
        except Refusal as refusal:
            result.append(refusal.code)
        else:
            result.append(None)
    return result


async def test_without_a_fault_nothing_happens() -> None:
    switch = FaultSwitch()
    assert await statuses(switch, 3) == [None] * 3
    assert switch.spoil(SCORES) is SCORES
    assert not switch.not_serving


async def test_the_next_calls_fail_and_no_more() -> None:
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert await statuses(FaultSwitch(Faults(fail_next=2)), 3) == [unavailable, unavailable, None]


async def test_calls_fail_with_the_status_that_is_wanted() -> None:
    switch = FaultSwitch(Faults(fail_next=1, fail_with="RESOURCE_EXHAUSTED"))
    assert await statuses(switch, 1) == [grpc.StatusCode.RESOURCE_EXHAUSTED]


async def test_a_call_hangs_until_it_is_given_up() -> None:
    call = asyncio.create_task(FaultSwitch(Faults(hang=True)).before(not_expected))
    await asyncio.sleep(0.01)
    assert not call.done()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_a_call_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await FaultSwitch(Faults(delay_ms=250)).before(not_expected)
    assert slept == [0.25]


async def test_the_next_call_drops_the_connections_and_is_never_answered() -> None:
    switch = FaultSwitch(Faults(drop_next=1))
    dropped: list[bool] = []
    call = asyncio.create_task(switch.before(lambda: dropped.append(True)))
    await asyncio.sleep(0.01)
    assert (dropped, call.done()) == ([True], False)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await statuses(switch, 1) == [None]


def test_answers_are_spoiled() -> None:
    answer = {kind: FaultSwitch(Faults(answer=kind)).spoil(SCORES) for kind in ("wrong_shape", "nan", "missing_output")}
    assert answer["missing_output"] is None
    assert answer["wrong_shape"] is not None
    assert answer["wrong_shape"].shape == (1999,)
    assert answer["nan"] is not None
    assert answer["nan"].shape == (2, 1000)
    assert np.isnan(answer["nan"]).all()


async def test_a_source_replaces_the_faults_and_their_counts() -> None:
    sequence: Iterator[Faults | None] = iter([None, Faults(fail_next=2), None, None, Faults()])
    switch = FaultSwitch(Faults(fail_next=1), lambda: next(sequence))
    failed = [status is not None for status in await statuses(switch, 4)]
    assert failed == [True, True, True, False]
    assert not switch.not_serving


def test_faults_are_read_from_json() -> None:
    document = {"drop_next": 1, "hang": True, "delay_ms": 5, "fail_next": 2, "fail_with": "ABORTED", "answer": "nan"}
    assert faults.parse(json.dumps(document).encode()) == Faults(
        drop_next=1, hang=True, delay_ms=5, fail_next=2, fail_with="ABORTED", answer="nan"
    )


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ([], "an object is expected"),
        ({"slow": 1}, "'slow' is not known; there are drop_next, hang"),
        ({"hang": 1}, "'hang' must be of type bool"),
        ({"fail_next": True}, "'fail_next' must be of type int"),
        ({"delay_ms": "5"}, "'delay_ms' must be of type float"),
        ({"fail_with": "OK"}, "'OK', which names no failure"),
        ({"fail_with": "SLOW"}, "'SLOW', which names no failure"),
        ({"answer": "late"}, "answer is 'late'"),
    ],
)
def test_other_documents_are_refused(document: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        faults.parse(json.dumps(document).encode())
