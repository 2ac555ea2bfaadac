"""What is let in, and what is refused at once."""

import time
from contextlib import ExitStack, suppress
from itertools import pairwise

import pytest

from shared.admission import Admission
from shared.errors import DeadlineExceeded, GatewayError, Overloaded, ServiceBusy, ServiceFailed
from shared.telemetry import Call


class Clock:
    """The time, as a test has it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still unless a test moves it."""
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    return made


def call(seconds: float = 10) -> Call:
    return Call("request", time.monotonic() + seconds)


class Calls:
    """Calls of a service that go on beside each other."""

    def __init__(self, door: Admission) -> None:
        self._door = door
        self._open: list[ExitStack] = []

    def begin(self, count: int = 1) -> None:
        for _ in range(count):
            self._open.append(ExitStack())
            self._open[-1].enter_context(self._door.watch(call()))

    def end(self, error: GatewayError | None = None) -> None:
        """The oldest one, by an answer or by an error."""
        with suppress(GatewayError), self._open.pop(0):
            if error is not None:
                raise error

    def end_all(self) -> None:
        while self._open:
            self.end()


@pytest.fixture
def door() -> Admission:
    return Admission(8, 10)


@pytest.fixture
def calls(door: Admission) -> Calls:
    """Of a service that was seen to answer at once."""
    made = Calls(door)
    made.begin()
    made.end()
    return made


# With a deadline of ten seconds.
IN_TIME, TOO_LONG = 0.9, 1.1


def test_places_are_given_up_to_the_ceiling_and_come_back() -> None:
    door = Admission(3, 10)

    with door.place(1, call()), door.place(2, call()):
        with pytest.raises(Overloaded) as caught, door.place(1, call()):
            pass
        assert caught.value.retry_after == 1
        assert "under way to the service: 3, of 3" in caught.value.detail
    with door.place(3, call()):
        assert "3 of 3.0 places" in repr(door)
    assert "0 of 3.0 places" in repr(door)


def test_a_request_of_more_images_than_places_is_let_in_alone() -> None:
    door = Admission(3, 10)

    with door.place(8, call()):
        pass
    with door.place(1, call()), pytest.raises(Overloaded), door.place(8, call()):
        pass


def test_a_place_comes_back_from_whatever_fails() -> None:
    door = Admission(1, 10)

    with pytest.raises(KeyboardInterrupt), door.place(1, call()):
        raise KeyboardInterrupt
    with door.place(1, call()):
        pass


def test_it_begins_with_as_much_as_one_address_may_have_and_doubles_while_that_is_used(clock: Clock) -> None:
    door = Admission(300, 10)
    calls = Calls(door)
    bounds = [bound(door)]

    for _ in range(3):
        with door.place(int(bounds[-1]), call()):
            calls.begin(int(bounds[-1]))
            clock.now += IN_TIME
            calls.end_all()
        bounds.append(bound(door))

    assert bounds == [64, 128, 256, 300]


def test_it_does_not_grow_while_it_is_not_used() -> None:
    door = Admission(300, 10)
    calls = Calls(door)

    for _ in range(100):
        with door.place(1, call()):
            calls.begin()
            calls.end()

    assert bound(door) == 64


def test_answers_that_were_too_long_under_way_cut_what_is_under_way_once(
    door: Admission, calls: Calls, clock: Clock
) -> None:
    with door.place(4, call()):
        calls.begin(4)
        clock.now += TOO_LONG
        calls.end_all()
    assert bound(door) == 3

    with door.place(3, call()):
        calls.begin(3)
        clock.now += TOO_LONG
        calls.end_all()
    assert bound(door) == 2.2


def test_after_a_cut_it_grows_by_one_a_round(door: Admission, calls: Calls, clock: Clock) -> None:
    with door.place(1, call()):
        calls.begin()
        clock.now += TOO_LONG
        calls.end()
    bounds = [bound(door)]

    for _ in range(12):
        with door.place(int(bounds[-1]), call()):
            calls.begin(int(bounds[-1]))
            calls.end_all()
        bounds.append(bound(door))

    assert bounds[:3] == [1, 2, 2.9]
    assert all(0 <= later - earlier <= 1 for earlier, later in pairwise(bounds))
    assert bounds[-1] == 8


def test_a_service_that_is_slow_by_nature_is_given_twice_its_time(door: Admission, clock: Clock) -> None:
    calls = Calls(door)
    for seconds in (2, 3.9):
        with door.place(8, call()):
            calls.begin(8)
            clock.now += seconds
            calls.end_all()
    assert bound(door) == 8

    with door.place(8, call()):
        calls.begin(8)
        clock.now += 4.1
        calls.end_all()
    assert bound(door) == 6


def test_one_that_is_met_while_it_is_overloaded_is_not_taken_for_slow_by_nature(door: Admission, clock: Clock) -> None:
    calls = Calls(door)
    for _ in range(3):
        with door.place(4, call()):
            calls.begin(4)
            clock.now += 5.1
            calls.end_all()

    assert bound(door) < 3


def test_a_service_that_says_it_is_busy_has_it_halved(door: Admission, calls: Calls) -> None:
    with door.place(8, call()):
        calls.begin()
        calls.end(ServiceBusy("no room"))

    assert bound(door) == 4


def test_a_deadline_that_a_client_made_short_says_nothing_of_the_service(
    door: Admission, calls: Calls, clock: Clock
) -> None:
    with door.place(8, call()):
        calls.begin()
        clock.now += IN_TIME
        calls.end(DeadlineExceeded("too late"))
        assert bound(door) == 8

        calls.begin()
        clock.now += TOO_LONG
        calls.end(DeadlineExceeded("too late"))
        assert bound(door) == 4


def test_other_failures_say_nothing_of_the_load(door: Admission, calls: Calls, clock: Clock) -> None:
    with door.place(8, call()):
        calls.begin()
        clock.now += TOO_LONG
        calls.end(ServiceFailed("broken"))

    assert bound(door) == 8


def test_a_request_that_could_not_be_answered_in_time_is_refused(door: Admission, calls: Calls, clock: Clock) -> None:
    calls.begin(4)
    clock.now += 0.8
    calls.end_all()  # a fifth of a second and more for each that is under way

    with door.place(3, call()):
        with door.place(1, call(2)):
            pass
        with pytest.raises(Overloaded, match="leave no time"), door.place(1, call(0.5)):
            pass
    with door.place(1, call(0.1)):
        pass  # alone: somebody has to find out whether it is quicker now


def test_a_service_that_recovers_is_believed_soon(door: Admission, calls: Calls, clock: Clock) -> None:
    with door.place(8, call()):
        calls.begin()
        clock.now += 0.8
        calls.end()
        for _ in range(10):
            calls.begin()
            clock.now += 0.002
            calls.end()

    with door.place(4, call()), door.place(1, call(0.1)):
        pass


def test_a_call_whose_deadline_has_passed_is_not_made(door: Admission, clock: Clock) -> None:
    late = call(1)
    clock.now += 1

    with pytest.raises(DeadlineExceeded), door.watch(late):
        raise AssertionError("it was made")


def bound(door: Admission) -> float:
    """How many places there are, as the limiter itself tells."""
    return float(repr(door).split(" of ")[1].split()[0])
