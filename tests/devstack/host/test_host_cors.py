import pytest

from devstack.host.cors import Cors
from devstack.host.errors import HostError

SHOP = b"https://shop.example"
PREFLIGHT = {b"origin": SHOP, b"access-control-request-method": b"PUT", b"access-control-request-headers": b"x-a,x-b"}


def _policy(*origins: str, credentials: bool = False) -> Cors:
    policy = Cors.configure(origins, credentials=credentials)
    assert policy
    return policy


def test_without_origins_there_is_no_policy() -> None:
    assert Cors.configure(()) is None


def test_a_preflight_is_told_by_method_and_headers() -> None:
    policy = _policy("*")
    assert policy.is_preflight("OPTIONS", PREFLIGHT)
    assert not policy.is_preflight("GET", PREFLIGHT)
    assert not policy.is_preflight("OPTIONS", {b"origin": SHOP})


def test_an_allowed_origin_may_use_any_method_and_header() -> None:
    assert dict(_policy("https://shop.example").preflight(PREFLIGHT)) == {
        b"access-control-allow-origin": SHOP,
        b"access-control-allow-methods": b"PUT",
        b"access-control-allow-headers": b"x-a,x-b",
    }


def test_another_origin_gets_nothing() -> None:
    policy = _policy("https://other.example")
    assert policy.preflight(PREFLIGHT) == policy.actual({b"origin": SHOP}) == []


def test_with_several_origins_caches_are_told_apart() -> None:
    policy = _policy("https://shop.example", "https://other.example")
    assert dict(policy.actual({b"origin": SHOP})) == {b"access-control-allow-origin": SHOP, b"vary": b"Origin"}
    assert dict(policy.actual({b"origin": b"https://third.example"})) == {b"vary": b"Origin"}


def test_any_origin_is_answered_with_a_star() -> None:
    assert _policy("*").actual({b"origin": SHOP}) == [(b"access-control-allow-origin", b"*")]


def test_credentials_are_allowed_for_named_origins_only() -> None:
    allowed = dict(_policy("https://shop.example", credentials=True).actual({b"origin": SHOP}))
    assert allowed[b"access-control-allow-credentials"] == b"true"
    with pytest.raises(HostError, match="credentials cannot go with the origin '\\*'"):
        Cors.configure(["*"], credentials=True)


def test_a_request_without_an_origin_is_left_alone() -> None:
    assert _policy("https://shop.example", "https://other.example").actual({}) == []


def test_the_policy_wins_over_what_a_function_says_itself() -> None:
    # Twice the same header, and browsers would refuse the answer.
    answer = [
        (b"Access-Control-Allow-Origin", b"https://shop.example"),
        (b"Access-Control-Expose-Headers", b"Server-Timing"),
        (b"Vary", b"Accept-Encoding"),
    ]
    _policy("*").amend(answer, {b"origin": SHOP})
    assert answer == [
        (b"Access-Control-Expose-Headers", b"Server-Timing"),
        (b"Vary", b"Accept-Encoding"),
        (b"access-control-allow-origin", b"*"),
    ]


def test_vary_is_added_to_and_not_replaced() -> None:
    answer = [(b"vary", b"Accept-Encoding")]
    _policy("https://shop.example", "https://other.example").amend(answer, {b"origin": SHOP})
    assert [value for name, value in answer if name == b"vary"] == [b"Accept-Encoding", b"Origin"]


def test_an_origin_that_is_not_allowed_leaves_the_answer_as_it_is() -> None:
    answer = [(b"access-control-allow-origin", b"https://third.example")]
    _policy("https://shop.example").amend(answer, {b"origin": b"https://third.example"})
    assert answer == [(b"access-control-allow-origin", b"https://third.example")]
