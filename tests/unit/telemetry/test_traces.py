"""Which requests are traced, and what is kept of them."""

import time

import pytest

from shared.telemetry import DECODE, PREDICT, RequestContext, metrics
from shared.telemetry.trace import CALLS, Call, Trace
from shared.telemetry.tracer import WAITING, Sampler, Tracer

LOW, HIGH = "0" * 31 + "1", "f" * 32
YES, NO = f"00-{LOW}-{'1' * 16}-01", f"00-{LOW}-{'1' * 16}-00"


@pytest.mark.parametrize(
    ("follows", "ratio", "sent", "trace_id", "sampled"),
    [
        (True, 0.0, YES, LOW, True),
        (True, 1.0, NO, LOW, False),
        (True, 1.0, "nonsense", LOW, False),
        (True, 0.0, "", LOW, False),
        (True, 1.0, "", HIGH, True),
        (True, 0.0, f"{YES[:-2]}03", LOW, True),
        (False, 0.0, YES, LOW, False),
        (False, 0.5, NO, LOW, True),
        (False, 0.5, YES, HIGH, False),
    ],
)
def test_the_caller_or_a_ratio_decides(follows: bool, ratio: float, sent: str, trace_id: str, sampled: bool) -> None:
    assert Sampler(follows, ratio).samples(sent, trace_id) is sampled


def context(traceparent: str = "") -> RequestContext:
    return RequestContext("id", time.monotonic() + 1, traceparent)


def test_a_request_without_a_trace_gets_one_and_the_ratio_holds() -> None:
    tracer = Tracer(Sampler(follows=True, ratio=0.25))
    made = [tracer.traced(context(), "") for _ in range(2000)]

    traced = [one.trace for one in made if one.trace is not None]
    assert 300 < len(traced) < 700
    assert len({one.trace_id for one in traced}) == len(traced)
    assert {(len(one.trace_id), len(one.span_id), one.parent_id) for one in traced} == {(32, 16, "")}


def test_parts_are_noted_where_a_request_is_traced() -> None:
    tracer = Tracer(Sampler(follows=True, ratio=0))
    plain, traced = tracer.traced(context(NO), NO), tracer.traced(context(YES), YES)
    assert (plain.trace, plain.traceparent) == (None, NO)
    for one in (plain, traced):
        for part in (DECODE, PREDICT):
            with one.for_image(2).timings.measure(part):
                pass
        tracer.finish(one, "score", 200, {})

    [finished] = tracer.take()

    assert [part for part, _, _ in finished.parts] == [DECODE]  # calls have spans of their own
    assert (finished.trace.trace_id, finished.trace.parent_id) == (LOW, "1" * 16)
    assert tracer.take() == []


def test_what_waits_is_bounded_and_what_is_dropped_counted() -> None:
    before = metrics.DROPPED_SPANS.points.get((), 0)
    tracer = Tracer(Sampler(follows=True, ratio=0))
    for _ in range(WAITING + 3):
        tracer.finish(tracer.traced(context(YES), YES), "score", 200, {})
    trace = Trace(LOW, "")
    for _ in range(CALLS + 4):
        trace.ended(Call("1" * 16, "a/B", "OK", ("host", 1), 0, 1))

    assert (len(tracer.take()), len(trace.calls)) == (WAITING, CALLS)
    assert metrics.DROPPED_SPANS.points[()] - before == 3 + 4


def test_time_in_which_the_service_scores_counts_once() -> None:
    timings = context().timings
    one, other = timings.for_image(), timings.for_image()
    started = one.call_started()
    inside = other.call_started()
    time.sleep(0.01)
    other.call_ended(inside)
    inner = timings.service_seconds
    one.call_ended(started)
    spent = dict(timings.parts())[PREDICT]

    assert inner == 0  # still in progress
    assert 0.01 <= timings.service_seconds <= spent / 2 + 0.005
