"""Parsing of a request's options, id, deadline and trace."""

import time
from typing import Any

import azure.functions as func
import pytest

from functions.http.requests import flag, ranking, request_context, request_id
from shared import errors
from shared.scoring.types import Ranking


def request(**headers: str) -> func.HttpRequest:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest("POST", "http://localhost/api/score", headers=fields, body=b"")


def test_the_query_sets_the_number_of_labels_and_the_threshold() -> None:
    assert ranking({}) == Ranking(5, 0.0)
    assert ranking({"top": "0", "threshold": "0.5", "code": "x"}) == Ranking(0, 0.5)
    assert ranking({"top": "1000", "threshold": "1e-3"}) == Ranking(1000, 0.001)
    assert ranking({"threshold": "0"}) == Ranking(5, 0.0)
    assert ranking({"threshold": "1"}) == Ranking(5, 1.0)


@pytest.mark.parametrize(
    "query",
    [
        *({"top": value} for value in ("-1", "1.5", "five", "+5", " 5", "٣", "9" * 5000, "0x5", "1_0")),
        *({"threshold": value} for value in ("-0.1", "1.1", "nan", "inf", "half", "9" * 5000)),
    ],
    ids=str,
)
def test_the_error_names_an_invalid_query_parameter(query: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        ranking(query)

    [name] = query
    assert caught.value.members["parameter"] == name
    assert str(caught.value.members["expected"]) in caught.value.detail
    assert len(caught.value.detail) < 160


class Invocation:
    """The members of the worker's invocation context that are used."""

    class Trace:
        trace_parent = ""
        trace_state = ""

    def __init__(self) -> None:
        self.invocation_id = "an-id"
        self.trace_context = self.Trace()


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_hosts_trace_takes_precedence_over_the_clients() -> None:
    invocation: Any = Invocation()
    traced = request(traceparent=PARENT, tracestate="a=b")

    context = request_context(traced, invocation, 2)
    assert (context.request_id, context.traceparent, context.tracestate) == ("an-id", PARENT, "a=b")
    assert 1 < context.deadline - time.monotonic() <= 2

    invocation.trace_context.trace_parent = PARENT.replace("-01", "-00")
    invocation.trace_context.trace_state = "c=d"
    context = request_context(traced, invocation, 2)
    assert (context.traceparent, context.tracestate) == (PARENT.replace("-01", "-00"), "c=d")


@pytest.mark.parametrize(
    "parent", ["", "00-abc", PARENT.upper(), PARENT + "\n", "é" * 55, PARENT + "\r\nauthorization: x"]
)
def test_a_malformed_trace_is_ignored(parent: str) -> None:
    invocation: Any = Invocation()

    context = request_context(request(traceparent=parent, tracestate="a=b"), invocation, 2)

    assert (context.traceparent, context.tracestate) == ("", "")


@pytest.mark.parametrize("state", ["a=é", "a=\x00", "a" * 513])
def test_a_malformed_tracestate_does_not_invalidate_the_trace(state: str) -> None:
    invocation: Any = Invocation()

    context = request_context(request(traceparent=PARENT, tracestate=state), invocation, 2)

    assert (context.traceparent, context.tracestate) == (PARENT, "")


@pytest.mark.parametrize("text", ["250", "1", "999999999"])
def test_a_client_can_shorten_the_deadline_but_not_extend_it(text: str) -> None:
    invocation: Any = Invocation()

    context = request_context(request(Request_Timeout_Ms=text), invocation, 2)

    assert context.deadline - time.monotonic() <= min(2, int(text) / 1000)


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "1.5", "1e3", "٣", "9" * 5000])
def test_the_error_names_an_invalid_timeout(text: str) -> None:
    invocation: Any = Invocation()

    with pytest.raises(errors.InvalidParameter) as caught:
        request_context(request(Request_Timeout_Ms=text), invocation, 2)

    assert caught.value.members["parameter"] == "Request-Timeout-Ms"


@pytest.mark.parametrize(("value", "found"), [("", False), ("false", False), ("true", True), ("True", True)])
def test_a_flag_is_true_or_false(value: str, found: bool) -> None:
    assert flag({"partial": value}, "partial") == found
    assert not flag({}, "partial")


def test_the_error_names_an_invalid_flag() -> None:
    with pytest.raises(errors.InvalidParameter, match="The parameter partial is 'some'; true or false is expected"):
        flag({"partial": "some"}, "partial")


def test_the_client_s_request_id_takes_precedence_over_the_hosts() -> None:
    invocation: Any = Invocation()

    assert request_id(request(X_Request_Id="app-1.2:3"), invocation) == "app-1.2:3"
    for invalid in ("", "a b", "a\nb", "é", "-a", "x" * 129):
        assert request_id(request(X_Request_Id=invalid), invocation) == "an-id"
