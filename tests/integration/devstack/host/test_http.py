"""HTTP triggers in the local host, which must behave as in Azure's: requests, routes, responses, keys, CORS."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.devstack.functions_host import APPS, StartHost
from tests.support.devstack.processes import TIMEOUT_SECONDS, ServerProcess


def test_a_function_gets_the_request_as_in_azure(basic: ServerProcess, client: httpx.Client) -> None:
    answer = client.post(
        "/api/Echo/5?a=1&A=2&b=x+y%20%C3%A4&c=&d",
        content=b"\x00\xffbody",
        headers=[("X-One", "1"), ("x-two", "a"), ("X-Two", "b")],
    ).json()
    assert (answer["method"], answer["url"]) == ("POST", f"{basic.address}/api/Echo/5?a=1&A=2&b=x+y%20%C3%A4&c=&d")
    assert answer["query"] == {"a": "1,2", "b": "x y ä"}
    assert (answer["params"], answer["body"]) == ({"number": "5"}, "\x00\xffbody")
    assert answer["headers"]["x-one"] == "1"
    assert answer["headers"]["x-two"].replace(" ", "") == "a,b"
    assert all(name == name.lower() for name in answer["headers"])
    assert client.head("/api/echo").headers["content-length"] > "0"
    # gRPC channels are bound to the loop that they were made in.
    assert answer["same_loop"] is True


def test_a_body_arrives_whole_but_a_chunked_one_without_a_length_arrives_empty(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 200_000
        yield b"y" * 200_000

    assert client.post("/api/length", content=b"x" * 5_000_000).text == "5000000"
    assert client.post("/api/length", content=chunks()).text == "0"
    assert client.post("/api/length", content=b"same connection").text == "15"


def test_a_body_beyond_the_limit_is_refused_unread(basic: ServerProcess) -> None:
    host, port = basic.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
        connection.sendall(b"POST /api/length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857601\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nowhere"),
        ("GET", "/api/length"),
        ("HEAD", "/api/rich"),
        ("POST", "/api/models/m/versions/x:predict"),
        ("GET", "/api/echo/x"),
    ],
)
def test_an_unknown_route_or_method_is_404_without_a_body(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (404, b"")
    parameters = client.post("/api/models/a%20b/versions/3:predict").json()
    assert parameters == {"model": "a b", "version": "3"}


def test_the_host_has_a_home_page_where_no_function_answers(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert "up and running" in answer.text
    # Keys are not enforced by default.
    assert client.get("/api/guarded").text == "in"
    assert client.get("/api/ruled").text.startswith("ThreadPoolExecutor"), "a synchronous function runs in a thread"


def test_a_response_arrives_with_status_headers_cookies_and_body(client: httpx.Client) -> None:
    answer = client.get("/api/rich")
    assert (answer.status_code, answer.content) == (418, b"\x00\xff")
    assert (answer.headers["x-own"], answer.headers["content-type"]) == ("yes", "image/x-own")
    assert answer.headers["content-length"] == "2"
    assert answer.headers.get_list("set-cookie") == [
        "a=1%2B2; path=/; samesite=lax; httponly",
        "b=2; max-age=60; secure",
    ]


@pytest.mark.parametrize(
    ("text", "status", "kind", "body"),
    [
        ("plain words", 200, "text/plain; charset=utf-8", "plain words"),
        ('{"a": 1}', 200, "application/json; charset=utf-8", '{"a":1}'),
        ('{"status": 202, "body": "taken"}', 202, "text/plain; charset=utf-8", "taken"),
        ('{"statusCode": "404", "Body": {"a": 1}}', 404, "application/json; charset=utf-8", '{"a":1}'),
    ],
)
def test_a_returned_str_is_parsed_as_json(client: httpx.Client, text: str, status: int, kind: str, body: str) -> None:
    answer = client.get("/api/text", params={"value": text})
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (status, kind, body)


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("fail", "it broke on purpose"),
        ("none", "NoneType"),
        ("bad_header", "not in Latin-1"),
    ],
)
def test_a_failing_function_is_500_without_a_body_and_logged(
    basic: ServerProcess, client: httpx.Client, function: str, cause: str
) -> None:
    answer = client.get(f"/api/{function}")
    assert (answer.status_code, answer.content) == (500, b"")
    assert re.search(rf"'Functions\.{function}'.*(\n.*)*{cause}", basic.log)


def test_a_trace_context_is_passed_on_or_made(client: httpx.Client) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = client.get("/api/trace", headers={"traceparent": parent, "tracestate": "a=b"}).json()
    assert (answer["parent"], answer["state"], answer["function"]) == (parent, "a=b", "trace")
    other = client.get("/api/trace", headers={"traceparent": "invalid", "tracestate": "a=b"}).json()
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", other["parent"])
    assert (other["state"], other["id"] != answer["id"]) == ("", True)


def test_settings_become_variables_unless_they_are_set(client: httpx.Client) -> None:
    answer = client.get("/api/environment?COLOUR=1&SHAPE=1&COUNT=1&WARMED_UP=1").json()
    assert answer["values"] == {"COLOUR": "green", "SHAPE": "square", "COUNT": "3", "WARMED_UP": "yes"}
    assert answer["folder"] == str(APPS / "basic")


def test_prints_and_logs_of_the_app_are_logged(basic: ServerProcess, client: httpx.Client) -> None:
    client.get("/api/print_and_log")
    assert "printed by the app" in basic.log
    assert "INFO shop: logged by the app" in basic.log
    assert re.search(r"Executed 'Functions\.print_and_log' \(Succeeded, Id=[0-9a-f-]{36}, Duration=\d+ms\)", basic.log)


def test_the_host_answers_preflight_requests(client: httpx.Client) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-own",
    }
    answer = client.options("/api/length", headers=headers)
    assert answer.status_code == 204
    allowed = {name: value for name, value in answer.headers.items() if name.startswith("access-control-allow")}
    assert allowed == {
        "access-control-allow-origin": "https://shop.example",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "x-own",
        "access-control-allow-credentials": "true",
    }
    for origin, readable in (("https://other.example", True), ("https://evil.example", False)):
        answer = client.get("/api/nothing", headers={"Origin": origin})
        assert answer.status_code == 204
        assert "content-length" not in answer.headers
        assert answer.headers.get("access-control-allow-origin") == (origin if readable else None)


def test_enable_auth_enforces_the_level_of_each_function(
    start_host: StartHost, tmp_path: Path, yearly_file: Path
) -> None:
    file = tmp_path / "keys.json"
    with start_host("basic", "--enable-auth", "--keys-file", file, YEARLY_FILE=str(yearly_file)) as host:
        keys = json.loads(file.read_text())

        def status(path: str, key: str | None = None, method: str = "GET") -> int:
            headers = {b"x-functions-key": key.encode("latin-1")} if key else {}
            answer = httpx.request(method, host.address + path, headers=headers)
            assert answer.status_code != 401 or answer.content == b""
            return answer.status_code

        assert status("/api/echo") == 200
        refused = [status("/api/guarded", key) for key in (None, "wrong", "ÿ", keys["functions"]["ruled"])]
        assert refused == [401] * 4
        assert status("/api/guarded?code=%C3%A4") == 401
        assert status("/api/guarded", keys["functions"]["guarded"]) == 200
        assert status(f"/api/guarded?code={keys['default']}") == 200
        assert status(f"/api/guarded?code={keys['default']}", "wrong") == 401, "the header precedes the query"
        assert [status("/api/ruled", keys["default"]), status("/api/ruled", keys["master"])] == [401, 200]
        assert [status("/admin/functions", keys["default"]), status("/admin/functions", keys["master"])] == [401, 200]
        webhook = "/runtime/webhooks/EventGrid?functionName=on_event"
        assert status(webhook, keys["default"], method="POST") == 401
        assert status(f"{webhook}&code={keys['eventgrid_extension']}", method="POST") == 400
        assert not any(key in host.log for key in (keys["master"], keys["default"], keys["eventgrid_extension"]))


@pytest.fixture(scope="module")
def prefixless(start_host: StartHost, way: list[str]) -> Iterator[ServerProcess]:
    with start_host("prefixless", "--quiet", *way) as host:
        yield host


def test_without_a_prefix_routes_start_at_the_root(prefixless: ServerProcess) -> None:
    assert httpx.get(f"{prefixless.address}/").text == "own page"
    assert httpx.post(f"{prefixless.address}/v1/models/m:predict").text == "m"
    assert httpx.get(f"{prefixless.address}/api/pid").status_code == 404


def test_custom_headers_are_added_where_the_function_set_none(prefixless: ServerProcess) -> None:
    page = httpx.get(f"{prefixless.address}/")
    assert page.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{prefixless.address}/nowhere").headers["x-frame-options"] == "DENY"


def test_a_function_that_exceeds_the_time_limit_is_cancelled(prefixless: ServerProcess) -> None:
    answer = httpx.get(f"{prefixless.address}/endless", timeout=TIMEOUT_SECONDS)
    assert (answer.status_code, answer.content) == (500, b"")
    assert re.search(r"'Functions\.endless' .*it ran longer than functionTimeout \(1 s\)", prefixless.log)
    # A warm-up that fails does not keep the host from starting.
    assert re.search(r"'Functions\.warm_up' \(Failed, ", prefixless.log)
