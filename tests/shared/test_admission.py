"""What is let in, and what is refused at once."""

import time
from contextlib import ExitStack, suppress

import pytest

from shared import admission
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
    return Calls(door)


SLOW = 10 * admission.PATIENCE + 0.1


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


def test_answers_that_take_too_long_of_the_deadline_make_it_tighter_once_for_all_that_were_under_way(
    door: Admission, calls: Calls, clock: Clock
) -> None:
    calls.begin(8)
    clock.now += SLOW
    calls.end_all()
    assert bound(door) == round(8 * admission.SHRINK, 1)

    calls.begin(8)
    clock.now += SLOW
    calls.end_all()
    assert bound(door) == round(8 * admission.SHRINK**2, 1)


def test_answers_in_time_widen_it_again_up_to_the_ceiling(door: Admission, calls: Calls, clock: Clock) -> None:
    for _ in range(100):
        calls.begin()
        clock.now += SLOW
        calls.end()
    assert bound(door) == 1

    for _ in range(3):
        calls.begin()
        calls.end()
    assert 2 < bound(door) < 3
    for _ in range(100):
        calls.begin()
        calls.end()
    assert bound(door) == 8


def test_a_service_that_says_it_is_busy_makes_it_tighter(door: Admission, calls: Calls) -> None:
    calls.begin()
    calls.end(ServiceBusy("no room"))

    assert bound(door) < 8


def test_a_deadline_that_a_client_made_short_says_nothing_of_the_service(
    door: Admission, calls: Calls, clock: Clock
) -> None:
    calls.begin()
    clock.now += 0.05
    calls.end(DeadlineExceeded("too late"))
    assert bound(door) == 8

    calls.begin()
    clock.now += SLOW
    calls.end(DeadlineExceeded("too late"))
    assert bound(door) < 8


def test_other_failures_say_nothing_of_the_load(door: Admission, calls: Calls, clock: Clock) -> None:
    calls.begin()
    clock.now += SLOW
    calls.end(ServiceFailed("broken"))

    assert bound(door) == 8


def test_a_request_that_could_not_be_answered_in_time_is_refused(door: Admission, calls: Calls, clock: Clock) -> None:
    calls.begin(4)
    clock.now += 2
    calls.end_all()  # half a second and more for each that is under way

    with door.place(3, call()):
        with door.place(1, call(5)):
            pass
        with pytest.raises(Overloaded, match="leave no time"), door.place(1, call(1)):
            pass
    with door.place(1, call(0.1)):
        pass  # alone: somebody has to find out whether it is quicker now


def test_a_service_that_recovers_is_believed_soon(door: Admission, calls: Calls, clock: Clock) -> None:
    calls.begin()
    clock.now += 2
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
