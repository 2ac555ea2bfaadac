"""Admission: permits, the limit of concurrent images, and rejected requests."""

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import pairwise

import pytest

from shared.errors import DeadlineExceeded, GatewayError, Overloaded, ServiceBusy, ServiceFailed
from shared.telemetry import RequestContext
from shared.upstream.admission import AGE, LONGER, Admission, ShortestTime


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the admission, which only the test advances."""
    fake = Clock()
    monkeypatch.setattr(time, "monotonic", fake.monotonic)
    return fake


def context(seconds: float = 10) -> RequestContext:
    return RequestContext("request", time.monotonic() + seconds)


class Calls:
    """Concurrent calls of a service."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock
        self._open: list[ExitStack] = []

    def begin(self, count: int = 1, *, images: int = 1, request: int = 1) -> None:
        """Begin calls with so many images each, of a request that has so many."""
        for _ in range(count):
            self._open.append(ExitStack())
            self._open[-1].enter_context(self._admission.track(replace(context(), images=request), images))

    def end(self, error: GatewayError | None = None) -> None:
        """End the oldest call, with a response or an error."""
        with suppress(GatewayError), self._open.pop(0):
            if error is not None:
                raise error

    def end_all(self) -> None:
        while self._open:
            self.end()

    def complete(self, count: int, seconds: float = 0.0) -> None:
        """Make a request of ``count`` images, all of which take some seconds."""
        with self._admission.permit(count, context()):
            self.begin(count)
            self._clock.now += seconds
            self.end_all()


@pytest.fixture
def admission() -> Admission:
    return Admission(8, 10)


@pytest.fixture
def calls(admission: Admission, clock: Clock) -> Calls:
    """Calls of a service whose first response was immediate."""
    calls = Calls(admission, clock)
    calls.complete(1)
    return calls


# Durations in seconds, for a deadline of ten seconds.
IN_TIME, TOO_LONG = 0.9, 1.1


def test_permits_are_acquired_up_to_the_limit_and_released() -> None:
    admission = Admission(3, 10)

    with admission.permit(1, context()), admission.permit(2, context()):
        with pytest.raises(Overloaded) as caught, admission.permit(1, context()):
            pass
        assert caught.value.retry_after == 1
        assert "in progress at the service: 3, of 3" in caught.value.detail
    with admission.permit(3, context()):
        assert "3 of 3.0 images" in repr(admission)
    assert "0 of 3.0 images" in repr(admission)


def test_the_images_of_requests_add_up(clock: Clock) -> None:
    admission, context = Admission(64, 10), RequestContext("request", clock.now + 10)

    with admission.permit(3, context), admission.permit(1, context):
        assert " 4 of " in repr(admission)
    assert " 0 of " in repr(admission)


def test_a_request_is_admitted_below_the_limit_however_many_its_images() -> None:
    admission = Admission(3, 10)

    with admission.permit(8, context()), pytest.raises(Overloaded), admission.permit(1, context()):
        pass
    with admission.permit(2, context()), admission.permit(8, context()):
        assert "10 of 3.0 images" in repr(admission)
    with admission.permit(3, context()):
        for images in (1, 8):
            with pytest.raises(Overloaded), admission.permit(images, context()):
                pass


def test_work_that_can_wait_has_room_below_a_share_of_the_limit() -> None:
    admission = Admission(4, 10)
    assert admission.has_room(0.5)
    with admission.permit(1, context()):
        assert admission.has_room(0.5)
        with admission.permit(1, context()):
            assert not admission.has_room(0.5)
    alone = Admission(1, 10)
    assert alone.has_room(0.5)
    with alone.permit(1, context()):
        assert not alone.has_room(0.5)


def test_a_permit_is_released_after_any_exception() -> None:
    admission = Admission(1, 10)

    with pytest.raises(KeyboardInterrupt), admission.permit(1, context()):
        raise KeyboardInterrupt
    with admission.permit(1, context()):
        pass


def test_the_limit_starts_with_the_default_and_doubles_while_it_is_reached(clock: Clock) -> None:
    admission = Admission(300, 10)
    calls, limits = Calls(admission, clock), [limit_of(admission)]

    for _ in range(3):
        calls.complete(int(limits[-1]), IN_TIME)
        limits.append(limit_of(admission))

    assert limits == [64, 128, 256, 300]


def test_the_limit_does_not_grow_while_it_is_not_reached(clock: Clock) -> None:
    admission = Admission(300, 10)
    calls = Calls(admission, clock)

    for _ in range(100):
        calls.complete(1)

    assert limit_of(admission) == 64


def test_slow_responses_of_one_request_reduce_the_limit_once(admission: Admission, calls: Calls) -> None:
    calls.complete(4, TOO_LONG)
    assert limit_of(admission) == 3

    calls.complete(3, TOO_LONG)
    assert limit_of(admission) == 2.2


def test_after_a_reduction_the_limit_grows_by_one_per_round(admission: Admission, calls: Calls) -> None:
    calls.complete(1, TOO_LONG)
    limits = [limit_of(admission)]

    for _ in range(12):
        calls.complete(int(limits[-1]))
        limits.append(limit_of(admission))

    assert limits[:3] == [1, 2, 2.9]
    assert all(0 <= later - earlier <= 1 for earlier, later in pairwise(limits))
    assert limits[-1] == 8


def test_the_time_limit_of_a_slow_service_is_three_times_its_first_duration(admission: Admission, clock: Clock) -> None:
    calls = Calls(admission, clock)
    for seconds in (1.5, 4.4):
        calls.complete(8, seconds)
    assert limit_of(admission) == 8

    calls.complete(8, 4.6)
    assert limit_of(admission) == 6


def test_an_initially_overloaded_service_is_not_considered_slow(admission: Admission, clock: Clock) -> None:
    calls = Calls(admission, clock)
    for _ in range(3):
        calls.complete(4, 5.1)

    assert limit_of(admission) < 3


def test_a_busy_service_halves_the_limit(admission: Admission, calls: Calls) -> None:
    with admission.permit(8, context()):
        calls.begin()
        calls.end(ServiceBusy("no room"))

    assert limit_of(admission) == 4


def test_a_passed_deadline_halves_the_limit_only_after_a_long_call(
    admission: Admission, calls: Calls, clock: Clock
) -> None:
    with admission.permit(8, context()):
        calls.begin()
        clock.now += IN_TIME
        calls.end(DeadlineExceeded("too late"))
        assert limit_of(admission) == 8

        calls.begin()
        clock.now += TOO_LONG
        calls.end(DeadlineExceeded("too late"))
        assert limit_of(admission) == 4


def test_other_failures_do_not_change_the_limit(admission: Admission, calls: Calls, clock: Clock) -> None:
    with admission.permit(8, context()):
        calls.begin()
        clock.now += TOO_LONG
        calls.end(ServiceFailed("broken"))

    assert limit_of(admission) == 8


def test_a_request_that_cannot_meet_its_deadline_is_rejected(admission: Admission, calls: Calls, clock: Clock) -> None:
    calls.begin(4)
    clock.now += 0.8
    calls.end_all()  # 0.2 s for each call in progress

    with admission.permit(3, context()):
        with admission.permit(1, context(2)):
            pass
        with pytest.raises(Overloaded, match="leave no time") as caught, admission.permit(1, context(0.5)):
            pass
        assert caught.value.retry_after == 1
    with admission.permit(1, context(0.1)):
        pass  # admitted as the only one: otherwise a recovered service would never be used


def test_requests_are_admitted_soon_after_a_service_recovers(admission: Admission, calls: Calls, clock: Clock) -> None:
    with admission.permit(8, context()):
        calls.begin()
        clock.now += 0.8
        calls.end()
        for _ in range(10):
            calls.begin()
            clock.now += 0.002
            calls.end()

    with admission.permit(4, context()), admission.permit(1, context(0.1)):
        pass


def test_the_pace_follows_recovery_faster_than_slowing_down(admission: Admission, clock: Clock) -> None:
    calls, paces = Calls(admission, clock), []
    for seconds in (0.2, 0.4, 0.4, 0.2, 0.02):
        calls.complete(1, seconds)
        paces.append(float(repr(admission).split(", ")[2].split()[0]))

    assert paces == pytest.approx([0.2, 0.22, 0.238, 0.219, 0.1195], abs=0.0001)


def test_a_call_after_its_deadline_is_not_made(admission: Admission, clock: Clock) -> None:
    late = context(1)
    clock.now += 1

    with pytest.raises(DeadlineExceeded), admission.track(late):
        raise AssertionError("the call was made")
    with admission.track(context(0.1)):
        pass  # made, however little time is left


def test_the_images_of_one_message_count_as_those_of_several(admission: Admission, calls: Calls, clock: Clock) -> None:
    """0.01 s for each image: one more message of 16 is served within a second, and not within a quarter of one."""
    for _ in range(20):
        with admission.permit(16, context()):
            calls.begin(images=16)
            assert "16 sent" in repr(admission)
            clock.now += 0.16
            calls.end_all()
            assert "0 sent" in repr(admission)
    assert "0.0100 s each" in repr(admission)

    with admission.permit(7, context()):
        with admission.permit(16, context(0.24)):
            pass
        with pytest.raises(Overloaded, match="leave no time"), admission.permit(16, context(0.22)):
            pass


def test_the_limit_grows_with_the_images_of_a_message(clock: Clock) -> None:
    admission = Admission(300, 10)
    calls = Calls(admission, clock)
    with admission.permit(1, context()):
        calls.begin()
        calls.end_all()

    with admission.permit(64, context()):
        for _ in range(4):
            calls.begin(images=16)
        calls.end_all()
    assert limit_of(admission) == 128

    calls.complete(100, TOO_LONG)
    limit = limit_of(admission)
    with admission.permit(int(limit), context()):
        calls.begin(images=15)
        calls.end_all()
    assert limit_of(admission) == pytest.approx(limit + 15 / limit, abs=0.06)


def test_messages_are_compared_with_others_of_about_their_size(clock: Clock) -> None:
    admission = Admission(64, 10)
    calls = Calls(admission, clock)
    for images, seconds in ((1, 0.3), (16, 3.0), (16, 4.9), (1, 0.5)):
        with admission.permit(64, context()):
            calls.begin(images=images)
            clock.now += seconds
            calls.end_all()
    assert limit_of(admission) == 64

    with admission.permit(64, context()):
        calls.begin()
        clock.now += TOO_LONG  # more than three times the time of one image
        calls.end_all()
    assert limit_of(admission) == 48


@pytest.mark.parametrize(("request_", "limit"), [(1, 48), (3, 48), (4, 64), (16, 64)])
def test_the_time_of_a_request_s_other_images_is_no_sign_of_a_slow_service(
    clock: Clock, request_: int, limit: float
) -> None:
    admission = Admission(64, 10)
    calls = Calls(admission, clock)
    calls.complete(1, 0.5)

    with admission.permit(64, context()):
        calls.begin(request=request_)
        clock.now += 2.8
        calls.end_all()

    assert limit_of(admission) == limit


def test_the_shortest_time_of_a_service_that_became_slower_is_forgotten(admission: Admission, clock: Clock) -> None:
    """Deadline 10 s: 2.5 s are too long while 0.4 s are remembered."""
    calls = Calls(admission, clock)
    calls.complete(1, 0.4)
    limits = []
    for _ in range(40):
        calls.complete(int(limit_of(admission)), 2.5)
        limits.append(limit_of(admission))

    # After ten seconds each it is 0.8 s and 1.6 s, and then 2.5 s are not too long.
    slow = limits.index(min(limits))
    assert min(limits) == 1
    assert limits.index(next(limit for limit in limits[slow:] if limit > 1)) + 1 == AGE * 2 / 2.5
    assert limits[-1] == 8


def test_the_shortest_time_ages_only_by_calls_that_nothing_of_the_worker_was_ahead_of(clock: Clock) -> None:
    """Otherwise a worker would take the queue that it makes itself for the service's own time."""
    shortest = ShortestTime()
    shortest.learn(0.5, clock.now, alone=True)
    for _ in range(100):
        clock.now += 1
        shortest.learn(3.0, clock.now, alone=False)
    assert shortest.seconds == 0.5

    ages = []
    for _ in range(40):
        clock.now += 1
        shortest.learn(1.7, clock.now, alone=True)
        ages.append(shortest.seconds)
    assert ages == [LONGER * 0.5] * 10 + [1.7] * 30

    shortest.learn(0.4, clock.now, alone=False)
    assert shortest.seconds == 0.4


def test_a_confirmed_shortest_time_does_not_age(clock: Clock) -> None:
    shortest = ShortestTime()
    for _ in range(20):
        shortest.learn(0.5, clock.now, alone=True)
        for _ in range(int(AGE) - 1):
            clock.now += 1
            shortest.learn(2.0, clock.now, alone=True)
        assert shortest.seconds == 0.5


def limit_of(admission: Admission) -> float:
    """The limit, from the representation."""
    return float(repr(admission).split(" of ")[1].split()[0])
