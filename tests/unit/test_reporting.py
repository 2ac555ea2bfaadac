"""What the gauges read, of real parts."""

import datetime as dt
import time
from types import SimpleNamespace
from typing import Any

import pytest

from shared.credentials.pins import ClientCertificate, Pins
from shared.reporting import OBSERVED_SECONDS, readings
from shared.rotation.scheduler import Progress
from shared.scoring.decoding.memory import Memory
from shared.settings import SplitSettings
from shared.telemetry import RequestContext
from shared.traffic.split import Split
from shared.upstream.admission import Admission

HOUR = dt.timedelta(hours=1)


def read(*arguments: Any) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (gauge.about.name.removeprefix("scoring."), attributes): value
        for gauge, attributes, value in readings(*arguments)
    }


def test_every_part_is_read() -> None:
    now = dt.datetime.now(dt.UTC)
    presents = ClientCertificate(b"", b"", "f", now + HOUR)
    pins = Pins(b"", ("f",), presents=presents, not_after=now + 2 * HOUR)
    client = SimpleNamespace(retries_left=99.5, credentials=SimpleNamespace(age=12.0, refresh_seconds=5.0, pins=pins))
    open_client = SimpleNamespace(retries_left=100.0, credentials=None)
    admission = Admission(128, 10, "cats")
    services = {
        "cats": SimpleNamespace(admission=admission, client=client),
        "open": SimpleNamespace(admission=Admission(32, 10), client=open_client),
    }
    splits = {"pets": Split(SplitSettings(name="pets", weights=(("cats", 3), ("open", 1))), lambda _: True, _never)}
    rotations = SimpleNamespace(
        progress={
            "cats": Progress("updating", time.time() - 60, (now + 3 * HOUR).timestamp(), time.time()),
            "open": Progress("steady", None, None, time.time()),
            "past": Progress("stopped", 0.0, 0.0, time.time() - OBSERVED_SECONDS - 1),
        }
    )
    memory = Memory(1000)

    with admission.permit(5, RequestContext("id", time.monotonic() + 1)), memory.body(100):
        found = read(services, splits, memory, rotations)

    assert found["admission.limit", ("cats",)] == 64
    assert found["admission.in_progress", ("cats",)] == 5
    assert found["admission.limit", ("open",)] == 32
    assert found["retry.budget", ("cats",)] == 99.5
    assert (found["credentials.age", ("cats",)], found["credentials.refresh", ("cats",)]) == (12, 5)
    assert ("credentials.age", ("open",)) not in found
    remaining = {kind: found["certificate.remaining", ("cats", kind)] for kind in ("client", "pinned", "served")}
    assert remaining == pytest.approx({"client": 3600, "pinned": 7200, "served": 10800}, abs=60)
    assert found["rotation.phase.age", ("cats", "updating")] == pytest.approx(60, abs=30)
    assert not any("past" in attributes for _, attributes in found)
    assert found["traffic.share", ("pets", "cats")] == 0.75
    assert (found["memory.use", ("bodies",)], found["memory.limit", ()]) == (300, 1000)


def test_what_is_not_known_yet_is_left_out() -> None:
    cache = SimpleNamespace(age=None, pins=None)
    client = SimpleNamespace(retries_left=100.0, credentials=cache)

    found = read({"cats": SimpleNamespace(admission=Admission(64, 10), client=client)}, {}, Memory(1), None)

    assert {name for name, _ in found} == {
        *("admission.limit", "admission.in_progress", "admission.pace", "retry.budget", "memory.use", "memory.limit")
    }


async def _never(_: str) -> str:
    raise AssertionError("reading checks nothing")
