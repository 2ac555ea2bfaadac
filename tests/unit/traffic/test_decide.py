"""The decisions of a split: shares by state and clock, and the member for a key."""

from collections import Counter
from collections.abc import Mapping

import pytest

from shared.traffic.decide import FAILING_SECONDS, FAILURES, FIRST_SHARE, RAMP_SECONDS, Member, State, choose, shares

KEYS = [f"user-{number}".encode() for number in range(20_000)]


def chosen(**weights: float) -> list[str]:
    """The member of each key."""
    return [choose(key, weights) for key in KEYS]


def moves(before: list[str], after: list[str]) -> Counter[tuple[str, str]]:
    """How many keys went from which member to which."""
    return Counter((one, two) for one, two in zip(before, after, strict=True) if one != two)


@pytest.mark.parametrize(
    "weights", [{"a": 90, "b": 10}, {"a": 1, "b": 1, "c": 2}, {"a": 999, "b": 1}, {"a": 1, "b": 0}]
)
def test_each_member_gets_its_share_of_the_keys(weights: Mapping[str, float]) -> None:
    counts, total = Counter(chosen(**weights)), sum(weights.values())

    for name, weight in weights.items():
        assert counts[name] / len(KEYS) == pytest.approx(weight / total, abs=0.01)
    assert all(weights[name] for name in counts)


def test_a_key_has_the_same_member_everywhere() -> None:
    """These are API: another release must not move every key."""
    assert [choose(key, {"blue": 1, "green": 1}) for key in KEYS[:6]] == EXPECTED
    assert chosen(blue=90, green=10) == chosen(green=0.1, blue=0.9)


EXPECTED = ["blue", "blue", "blue", "green", "blue", "blue"]


def test_keys_move_only_to_a_member_whose_share_grows() -> None:
    moved = moves(chosen(a=80, b=10, c=10), chosen(a=70, b=20, c=10))

    assert set(moved) <= {("a", "b"), ("c", "b"), ("a", "c")}
    # From a to c: its part of the whole stays the same, a tenth; only what b takes from it is made good.
    assert sum(moved.values()) / len(KEYS) < 0.12


def test_a_growing_weight_alone_takes_keys_and_gives_none() -> None:
    moved = moves(chosen(a=90, b=10), chosen(a=90, b=30))

    assert set(moved) == {("a", "b")}
    assert sum(moved.values()) / len(KEYS) == pytest.approx(30 / 120 - 10 / 100, abs=0.01)


def test_the_keys_of_a_member_that_leaves_go_to_the_others_and_no_other_key_moves() -> None:
    before, after = chosen(a=50, b=30, c=20), chosen(a=50, b=30, c=0)

    moved = moves(before, after)
    assert set(moved) == {("c", "a"), ("c", "b")}
    assert sum(moved.values()) == before.count("c")
    assert moved["c", "a"] / moved["c", "b"] == pytest.approx(5 / 3, abs=0.2)


def test_there_is_no_member_without_a_share() -> None:
    assert choose(b"key", {"a": 0.0}) == ""
    assert choose(b"key", {}) == ""


def test_the_share_of_one_that_is_not_ready_goes_to_the_others_and_comes_back_evenly() -> None:
    members = {"blue": Member(60), "green": Member(40)}
    assert shares(members, 0) == {"blue": 0.6, "green": 0.4}

    assert members["green"].checked("service-unreachable", 100)
    assert not members["green"].checked("service-unreachable", 101)
    assert members["green"].state(101) is State.NOT_READY
    assert shares(members, 101) == {"blue": 1.0, "green": 0.0}

    assert members["green"].checked("", 200)
    parts = [members["green"].part(200 + RAMP_SECONDS * part) for part in (0, 0.5, 1, 2)]
    assert parts == pytest.approx([FIRST_SHARE, (1 + FIRST_SHARE) / 2, 1, 1])
    assert members["green"].state(200) is State.RETURNING
    assert shares(members, 200)["green"] == pytest.approx(40 * FIRST_SHARE / (60 + 40 * FIRST_SHARE))
    assert members["green"].state(200 + RAMP_SECONDS) is State.READY
    assert shares(members, 200 + RAMP_SECONDS) == {"blue": 0.6, "green": 0.4}


def test_where_none_is_ready_the_weights_count() -> None:
    members = {"blue": Member(3, why="x"), "green": Member(1, why="x"), "old": Member(0)}

    assert shares(members, 0) == {"blue": 0.75, "green": 0.25, "old": 0.0}


def test_a_check_that_confirms_a_ready_member_starts_no_ramp() -> None:
    member = Member(1)

    assert not member.checked("", 100)
    assert member.state(100) is State.READY


def test_failures_in_a_row_take_the_share_and_a_success_between_them_does_not() -> None:
    member = Member(1)
    for _ in range(3):
        assert not any(member.failed("service-failed", 10, 10) for _ in range(FAILURES - 1))
        member.succeeded()

    assert [member.failed("service-failed", 10, 11) for _ in range(FAILURES + 1)] == [
        *[False] * (FAILURES - 1),
        True,
        False,
    ]
    assert (member.why, member.check_at) == ("service-failed", 11 + FAILING_SECONDS)


def test_the_documented_figures() -> None:
    """As in docs/rollout.md: five failures in a row, checked again after ten seconds, whole after a minute."""
    member = Member(1)

    assert [member.failed("service-failed", 1, 2) for _ in range(5)] == [False] * 4 + [True]
    assert member.check_at == 12
    member.checked("", 12)
    assert (member.part(12), member.part(71.9) < 1, member.part(72)) == (0.1, True, 1)


def test_failures_of_requests_from_before_the_return_do_not_count() -> None:
    member = Member(1, why="service-unreachable")
    member.checked("", 50)

    assert not any(member.failed("service-unreachable", 49, 51) for _ in range(FAILURES))
    assert member.state(51) is State.RETURNING
    assert any(member.failed("service-unreachable", 50, 51) for _ in range(FAILURES))
