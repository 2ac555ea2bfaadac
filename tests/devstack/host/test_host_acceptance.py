import json
from typing import Any

import pytest

from devstack.host.acceptance import accept
from devstack.host.errors import HostError
from devstack.host.messages import RpcFunctionMetadata

HTTP = {"type": "httpTrigger", "name": "req", "authLevel": "ANONYMOUS"}
TIMER = {"type": "timerTrigger", "name": "timer", "schedule": "0 0 * * * *"}
OUT = {"type": "http", "name": "$return", "direction": "OUT"}
SOUND = RpcFunctionMetadata("sound", "0", raw_bindings=[json.dumps(TIMER)])


def _metadata(name: str, *bindings: dict[str, Any]) -> RpcFunctionMetadata:
    return RpcFunctionMetadata(name, name, raw_bindings=[json.dumps(binding) for binding in bindings])


def test_functions_come_in_the_order_of_their_names() -> None:
    accepted = accept([_metadata(name, HTTP, OUT) for name in ("b", "A", "c")], {}, "api")
    assert [function.name for function in accepted.functions] == ["A", "b", "c"]


@pytest.mark.parametrize(
    ("prefix", "route", "path"),
    [
        ("api", "items", b"/api/items"),
        ("", "items", b"/items"),
        ("v1/x", "/items/", b"/v1/x/items"),
        ("api", None, b"/api/named"),
        ("api", "", b"/api/named"),
    ],
)
def test_a_route_stands_behind_the_prefix_and_falls_back_to_the_name(
    prefix: str, route: str | None, path: bytes
) -> None:
    binding = HTTP if route is None else {**HTTP, "route": route}
    assert accept([_metadata("named", binding, OUT)], {}, prefix).routes.match("GET", path) == ("named", {})


def test_settings_are_resolved_in_every_binding() -> None:
    metadata = _metadata("named", {**TIMER, "schedule": "%EVERY%"})
    accepted = accept([metadata], {"EVERY": "0 0 0 * * *"}, "api")
    assert accepted.functions[0].trigger["schedule"] == "0 0 0 * * *"


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        (_metadata("bad", {**HTTP, "name": "my_req"}, OUT), "the binding name my_req is invalid"),
        (_metadata("bad", {**TIMER, "schedule": "0 61 * * * *"}), "'0 61 * * * *' is not valid: 61 is no minute"),
        (_metadata("bad", {**TIMER, "schedule": "%GONE%"}), "'%GONE%' does not resolve to a value"),
        (_metadata("bad", {**HTTP, "route": "a/{b"}, OUT), "its route 'a/{b' is malformed"),
        (_metadata("bad", {**HTTP, "route": "admin/x"}, OUT), "conflicts with one of the host's own"),
        (_metadata("bad", {**HTTP, "route": "/Runtime"}, OUT), "conflicts with one of the host's own"),
        (_metadata("bad", {"type": "queueTrigger", "name": "q"}), "the binding type queueTrigger is not part"),
        (_metadata("bad", HTTP, {"type": "blob", "name": "b"}), "the binding type blob is not part"),
        (_metadata("bad", OUT), "exactly one trigger"),
        (_metadata("bad", HTTP, {**TIMER, "name": "t"}), "exactly one trigger"),
        (_metadata("1bad", TIMER), "its name is invalid"),
        (_metadata("host", TIMER), "its name is invalid"),
    ],
)
def test_a_function_in_error_is_named_and_left_out(
    metadata: RpcFunctionMetadata, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    accepted = accept([metadata, SOUND], {}, "api")
    assert [function.name for function in accepted.functions] == ["sound"]
    assert f"The '{metadata.name}' function is in error: " in caplog.text
    assert complaint in caplog.text


def test_an_app_without_a_sound_function_is_refused() -> None:
    with pytest.raises(HostError, match="no function is left"):
        accept([_metadata("bad", OUT)], {}, "api")


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(HostError, match="WEBSITE_TIME_ZONE 'Moon' is no time zone"):
        accept([SOUND], {"WEBSITE_TIME_ZONE": "Moon"}, "api")


def test_a_route_that_is_hidden_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    accept(
        [
            _metadata("a_page", {**HTTP, "route": "{*path}"}, OUT),
            _metadata("score", {**HTTP, "route": "score"}, OUT),
        ],
        {},
        "api",
    )
    assert "'api/{*path}' of 'a_page' is tried before 'api/score' of 'score'" in caplog.text
