"""What the exporter does with what the receiver answers; the receivers themselves are tested with real servers."""

import time
from collections.abc import Sequence

import pytest

from shared.telemetry import RequestContext, metrics
from shared.telemetry.export import Exporter
from shared.telemetry.receiver import LOST, PARTIAL, REFUSED, SENT, Outcome
from shared.telemetry.snapshot import Snapshot
from shared.telemetry.tracer import WAITING, FinishedRequest, Sampler, Tracer
from tests.support.clock import Clock


class Receiver:
    """Answers each export with ``outcome``, and keeps it."""

    name = "the receiver"

    def __init__(self) -> None:
        self.outcome = Outcome(SENT)
        self.snapshots: list[Snapshot] = []
        self.requests: list[Sequence[FinishedRequest]] = []

    def metrics(self, snapshot: Snapshot, seconds: float) -> Outcome:
        assert seconds > 0
        self.snapshots.append(snapshot)
        return self.outcome

    def traces(self, finished: Sequence[FinishedRequest], seconds: float) -> Outcome:
        assert seconds > 0
        self.requests.append(finished)
        return self.outcome

    def close(self) -> None:
        """Nothing."""

    def counted(self) -> float:
        """What the last export has of one count."""
        value = self.snapshots[-1].of(metrics.RETRIES).get(("cats", "test"), 0)
        assert not isinstance(value, list)
        return value


def exported(outcome: str) -> float:
    return metrics.EXPORTS.points.get(("metrics", outcome), 0)


def test_deltas_have_what_the_receiver_does_not(caplog: pytest.LogCaptureFixture) -> None:
    """Refused ones are in the next export; those that are lost, or accepted in part, are not."""
    receiver, found = Receiver(), []
    exporter = Exporter(lambda: receiver, 60, delta=True)
    exporter.flush(1)
    before = {result: exported(result) for result in (SENT, REFUSED, LOST, PARTIAL)}
    for result in (SENT, REFUSED, SENT, LOST, SENT, PARTIAL, SENT):
        metrics.RETRIES.add(("cats", "test"))
        receiver.outcome = Outcome(result, "the cause")
        exporter.flush(1)
        found.append(receiver.counted())

    assert found == [1, 1, 2, 1, 1, 1, 1]
    assert {result: exported(result) - before[result] for result in before} == {
        SENT: 4,
        REFUSED: 1,
        LOST: 1,
        PARTIAL: 1,
    }
    assert "the receiver did not accept the metrics: the cause" in caplog.messages
    assert "the receiver did not accept all of the metrics: the cause" in caplog.messages


async def test_nothing_is_sent_while_the_receiver_asks_for_a_pause(clock: Clock) -> None:
    receiver = Receiver()
    exporter = Exporter(lambda: receiver, 60, delta=True)
    receiver.outcome = Outcome(REFUSED, "status 429", pause=30)
    exporter.flush(1)
    receiver.outcome = Outcome(SENT)
    for seconds in (0, 29, 2):
        clock.now += seconds
        exporter.flush(1)

    assert len(receiver.snapshots) == 2


async def test_a_pause_has_an_end(clock: Clock) -> None:
    receiver = Receiver()
    exporter = Exporter(lambda: receiver, 60)
    receiver.outcome = Outcome(REFUSED, pause=1e9)
    exporter.flush(1)
    clock.now += 601
    exporter.flush(1)

    assert len(receiver.snapshots) == 2


def finish(tracer: Tracer, number: int) -> None:
    context = tracer.traced(RequestContext("id", time.monotonic() + 1), "")
    tracer.finish(context, "score", 200, {"number": number})


def numbers(finished: Sequence[FinishedRequest]) -> list[object]:
    return [one.attributes["number"] for one in finished]


def test_refused_spans_are_sent_again_in_their_order_and_lost_ones_are_not() -> None:
    receiver, tracer = Receiver(), Tracer(Sampler(follows=False, ratio=1))
    exporter = Exporter(lambda: receiver, 60, tracer, with_metrics=False)
    for number, result in enumerate((REFUSED, REFUSED, SENT, LOST, SENT)):
        finish(tracer, number)
        receiver.outcome = Outcome(result)
        exporter.flush(1)

    assert [numbers(one) for one in receiver.requests] == [[0], [0, 1], [0, 1, 2], [3], [4]]
    assert receiver.snapshots == []


def test_while_exports_fail_spans_are_not_sent_more_often_than_metrics() -> None:
    receiver, tracer = Receiver(), Tracer(Sampler(follows=False, ratio=1))
    exporter = Exporter(lambda: receiver, 60, tracer)
    for result, with_metrics in ((REFUSED, False), (SENT, False), (SENT, False), (SENT, True), (SENT, False)):
        finish(tracer, 1)
        receiver.outcome = Outcome(result)
        exporter._export(1, with_metrics=with_metrics)

    assert [len(one) for one in receiver.requests] == [1, 4, 1]


def test_of_refused_spans_the_latest_are_kept_as_far_as_there_is_room() -> None:
    tracer = Tracer(Sampler(follows=False, ratio=1))
    for number in range(WAITING):
        finish(tracer, number)
    refused = tracer.take()
    finish(tracer, WAITING)
    dropped = metrics.DROPPED_SPANS.points.get((), 0)

    tracer.put_back(refused)

    assert numbers(tracer.take()) == list(range(1, WAITING + 1))
    assert metrics.DROPPED_SPANS.points[()] - dropped == 1
