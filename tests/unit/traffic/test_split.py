"""A split at work, on a clock of the test's own: which member gets a request, and when members are checked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from shared.errors import DeadlineExceeded, GatewayError, InvalidTensor, Overloaded, ServiceFailed
from shared.settings import SplitSettings
from shared.telemetry import RequestContext
from shared.traffic.decide import FAILING_SECONDS, FAILURES, RAMP_SECONDS, State
from shared.traffic.split import WAIT_SECONDS, Split
from tests.support.clock import Clock


class Member:
    """A member as a split sees it, and what its checks find, after ``seconds``."""

    def __init__(self) -> None:
        self.responds = True
        self.why = ""
        self.seconds = 0.01
        self.checks = 0


class Members:
    """The split ``cats`` of the members ``blue`` and ``green``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.blue, self.green = Member(), Member()
        settings = SplitSettings("cats", (("blue", 50), ("green", 50)))
        self.split = Split(settings, self.is_ready, self.check)

    def is_ready(self, name: str) -> bool:
        member: Member = getattr(self, name)
        return member.responds

    async def check(self, name: str) -> str:
        member: Member = getattr(self, name)
        member.checks += 1
        await asyncio.sleep(member.seconds)
        member.responds = not member.why
        return member.why

    async def choose(self, key: str = "", seconds: float = 10) -> str:
        return await self.split.choose(key, RequestContext("request", self.clock.now + seconds))

    async def chosen(self, count: int = 40) -> Counter[str]:
        return Counter(await asyncio.gather(*(self.choose(f"{number}") for number in range(count))))

    def fail(self, error: GatewayError, times: int = FAILURES) -> None:
        for _ in range(times):
            self.split.ended("green", self.clock.now, error)

    def state(self) -> State:
        return self.split.report()["green"].state


@pytest.fixture
async def members(clock: Clock) -> AsyncIterator[Members]:
    made = Members(clock)
    yield made
    made.split.close()


async def test_members_that_respond_are_never_checked(members: Members) -> None:
    assert set(await members.chosen()) == {"blue", "green"}
    assert {await members.choose() for _ in range(40)} == {"blue", "green"}
    assert (members.blue.checks, members.green.checks) == (0, 0)


async def test_one_check_serves_all_requests_and_a_new_connection_is_no_outage(members: Members) -> None:
    members.green.responds = False

    assert set(await members.chosen()) == {"blue", "green"}
    assert members.green.checks == 1
    assert members.state() is State.READY


async def test_the_requests_of_one_that_is_not_ready_go_to_the_other_before_they_are_sent(members: Members) -> None:
    before = await members.chosen()
    members.green.responds, members.green.why = False, "service-unreachable"

    assert await members.chosen() == {"blue": 40}
    assert before["green"]
    report = members.split.report()["green"]
    assert (report.share, report.state, report.why) == (0, State.NOT_READY, "service-unreachable")


async def test_a_silent_check_holds_no_request_for_long(members: Members) -> None:
    members.green.responds, members.green.seconds = False, 60
    started = members.clock.now

    assert await members.chosen() == {"blue": 40}
    assert members.clock.now - started == pytest.approx(WAIT_SECONDS)
    assert members.green.checks == 1


async def test_it_is_checked_once_a_second_while_requests_arrive_and_comes_back_slowly(members: Members) -> None:
    members.green.responds, members.green.why = False, "service-unreachable"
    await members.chosen()
    for _ in range(50):
        await asyncio.sleep(0.1)
        await members.choose()
    assert 4 <= members.green.checks <= 6

    members.green.why = ""
    await asyncio.sleep(2)
    await members.choose()
    await asyncio.sleep(0.1)
    assert members.state() is State.RETURNING
    few = (await members.chosen(400))["green"]
    assert 10 <= few <= 70
    await asyncio.sleep(RAMP_SECONDS)
    assert members.state() is State.READY
    assert 150 <= (await members.chosen(400))["green"] <= 250


async def test_where_none_is_ready_requests_are_sent_all_the_same(members: Members) -> None:
    for member in (members.blue, members.green):
        member.responds, member.why = False, "service-unreachable"

    assert set(await members.chosen()) == {"blue", "green"}
    assert set(await members.chosen()) == {"blue", "green"}


@pytest.mark.parametrize("error", [InvalidTensor("x"), Overloaded("x"), DeadlineExceeded("x")])
async def test_what_the_client_or_the_load_causes_moves_nothing(members: Members, error: GatewayError) -> None:
    members.fail(error, 20)

    assert members.state() is State.READY


async def test_a_member_whose_requests_fail_in_a_row_pauses(members: Members) -> None:
    members.fail(ServiceFailed("x"), FAILURES - 1)
    members.split.ended("green", members.clock.now)
    members.fail(ServiceFailed("x"), FAILURES - 1)
    assert members.state() is State.READY

    members.fail(ServiceFailed("x"), 1)
    assert members.state() is State.NOT_READY
    assert await members.chosen() == {"blue": 40}
    await asyncio.sleep(FAILING_SECONDS - 0.1)
    await members.choose()
    assert members.green.checks == 0
    await asyncio.sleep(0.2)
    await members.choose()
    await asyncio.sleep(0.1)
    assert members.state() is State.RETURNING


async def test_the_largest_share_answers_questions(members: Members) -> None:
    members.green.responds, members.green.why = False, "service-unreachable"
    await members.chosen()

    assert members.split.main() == "blue"
