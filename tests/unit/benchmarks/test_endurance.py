"""The endurance run has a request for every problem; what the run of an hour's worth of changes concludes."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.endurance.hour.load import Window
from benchmarks.endurance.hour.report import Conditions, Row, failures, page
from benchmarks.endurance.requests import PROBLEMS
from benchmarks.harness.machine import Footprint
from shared.errors import problem_types

# Problems of Key Vault, the identity or the settings as a whole, of rotation, of too many requests, and of the
# protocol endpoints, to which the endurance run sends nothing; and some of connections.
ELSEWHERE = {
    *("control-plane-refused", "control-plane-unreachable", "identity-unavailable", "internal-error", "misconfigured"),
    *("foreign-origin", "gateway-busy", "no-golden-photographs", "not-rotated", "overloaded", "rotation-busy"),
    *("vault-forbidden", "vault-rejected", "vault-throttled", "vault-unreachable"),
    *("invalid-key", "proxy-refused", "service-name-unresolved", "service-without-http2"),
    *("unsupported-content-encoding", "body-too-large", "invalid-tensor", "unknown-version", "method-not-offered"),
    *("metrics-off", "metrics-key-refused"),
}


def test_every_problem_has_a_request() -> None:
    assert {request.slug for request in PROBLEMS} == {kind.slug for kind in problem_types()} - ELSEWHERE


WARM = Footprint(100.0, 40, 20, 30)
ROWS = [Row(number, {"model": 0.5}, Window(10, [], [0.01] * 10), WARM) for number in (1, 2, 3)]


def after(**changed: Any) -> list[Row]:
    """The rows of a run that ends with a changed process."""
    return [*ROWS[:-1], replace(ROWS[-1], footprint=WARM._replace(**changed))]


def test_a_run_without_losses_and_growth_proves_it() -> None:
    shrunk = after(resident_mb=104.9, files=39, sockets=22, threads=29)

    assert failures(ROWS) == failures(shrunk) == []
    shown = page(shrunk, Conditions("the app", 4, 40.0, "3", {"cores": "2"}))
    assert "**Of 30 requests none was lost** (model 3 times)" in shown
    assert "+4.9 % at most, and at the end it has -1 files, +2 sockets, -1 threads" in shown


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([replace(ROWS[0], window=Window(10, ["score: 503"], [0.01] * 10)), *ROWS[1:]], "1 requests were lost"),
        (after(resident_mb=105.1), "grew from 100.0 to 105.1 MB"),
        ([ROWS[0], *after(resident_mb=106.0)[1:], ROWS[2]], "grew from 100.0 to 106.0 MB"),
        (after(files=43), "43 files instead of 40"),
        (after(sockets=23), "23 sockets instead of 20"),
        (after(threads=33), "33 threads instead of 30"),
    ],
    ids=["lost", "memory", "memory for a while", "files", "sockets", "threads"],
)
def test_what_is_lost_or_kept_is_named(rows: list[Row], found: str) -> None:
    [failure] = failures(rows)

    assert found in failure
    assert f"**Not as it should be:** {failure}" in page(rows, Conditions("the app", 4, 40.0, "3", {}))
