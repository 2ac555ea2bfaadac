import contextlib
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.devstack.host.helpers import APPS, StartHost, eventually
from tests.devstack.processes import PATIENCE, Running


def test_a_function_sees_the_request_as_the_real_host_shows_it(basic: Running, client: httpx.Client) -> None:
    answer = client.post(
        "/api/Echo/5?a=1&A=2&empty=",
        content=b"\x00\xffbody",
        headers=[("X-One", "1"), ("x-two", "a"), ("X-Two", "b")],
    ).json()
    assert answer["method"] == "POST"
    assert answer["url"] == f"{basic.address}/api/Echo/5?a=1&A=2&empty="
    assert answer["query"] == {"a": "1,2"}
    assert answer["params"] == {"number": "5"}
    assert answer["body"] == "\x00\xffbody"
    assert answer["headers"]["x-one"] == "1"
    assert answer["headers"]["x-two"].replace(" ", "") == "a,b"
    assert all(name == name.lower() for name in answer["headers"])


def test_the_app_is_imported_in_the_loop_that_serves_it(client: httpx.Client) -> None:
    assert client.get("/api/echo").json()["same_loop"] is True


def test_a_large_body_arrives_whole(client: httpx.Client) -> None:
    assert client.post("/api/length", content=b"x" * 5_000_000).text == "5000000"


def test_a_chunked_upload_without_a_length_arrives_empty(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * 200_000
        yield b"y" * 200_000

    assert client.post("/api/length", content=chunks()).text == "0"
    assert client.post("/api/length", content=b"the connection goes on").text == "22"


def test_a_body_beyond_the_limit_is_refused_unread(basic: Running) -> None:
    host, port = basic.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(b"POST /api/length HTTP/1.1\r\nHost: h\r\nContent-Length: 104857601\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("POST", "/api/models/imagenet:predict", {"model": "imagenet"}),
        ("POST", "/api/models/a%20b:predict", {"model": "a b"}),
        ("POST", "/api/models/m/versions/3:predict", {"model": "m", "version": "3"}),
        ("GET", "/api/files/a/b.txt", {"path": "a/b.txt"}),
        ("GET", "/api/files", {}),
    ],
)
def test_route_parameters_reach_the_function(
    client: httpx.Client, method: str, path: str, params: dict[str, str]
) -> None:
    assert client.request(method, path).json() == params


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nowhere"),
        ("GET", "/nowhere"),
        ("GET", "/api/length"),
        ("HEAD", "/api/rich"),
        ("OPTIONS", "/api/rich"),
        ("POST", "/api/models/m/versions/x:predict"),
        ("GET", "/api/echo/x"),
    ],
)
def test_no_route_and_no_such_method_are_not_found_without_a_body(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_function_without_methods_answers_every_one(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/api/echo")
    assert answer.status_code == 200
    if method == "HEAD":
        assert answer.content == b""
        assert int(answer.headers["content-length"]) > 0
    else:
        assert answer.json()["method"] == method


def test_a_response_arrives_with_all_it_has(client: httpx.Client) -> None:
    answer = client.get("/api/rich")
    assert (answer.status_code, answer.content) == (418, b"\x00\xff")
    assert (answer.headers["x-own"], answer.headers["content-type"]) == ("yes", "image/x-own")
    assert answer.headers["content-length"] == "2"
    assert answer.headers.get_list("set-cookie") == [
        "a=1%2B2; path=/; samesite=lax; httponly",
        "b=2; max-age=60; secure",
    ]


def test_an_answer_without_a_body_has_no_length(client: httpx.Client) -> None:
    answer = client.get("/api/nothing")
    assert answer.status_code == 204
    assert "content-length" not in answer.headers


def test_a_returned_str_is_read_as_json(client: httpx.Client) -> None:
    answer = client.get("/api/text", params={"value": '{"status": 202, "body": "taken"}'})
    assert (answer.status_code, answer.text) == (202, "taken")


def test_a_synchronous_function_runs_in_the_workers_threads(client: httpx.Client) -> None:
    assert client.get("/api/sync").text.startswith("ThreadPoolExecutor")


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("fail", "it broke on purpose"),
        ("fail_in_thread", "it broke in a thread"),
        ("none", "NoneType"),
        ("bad_header", "not in Latin-1"),
    ],
)
def test_a_function_that_fails_is_500_without_a_body_and_a_line_with_its_name(
    basic: Running, client: httpx.Client, function: str, cause: str
) -> None:
    answer = client.get(f"/api/{function}")
    assert (answer.status_code, answer.content) == (500, b"")
    assert re.search(rf"'Functions\.{function}'.*(\n.*)*{cause}", basic.log)


def test_a_trace_goes_into_the_invocation(client: httpx.Client) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = client.get("/api/trace", headers={"traceparent": parent, "tracestate": "a=b"}).json()
    assert (answer["parent"], answer["state"], answer["function"]) == (parent, "a=b", "trace")


@pytest.mark.parametrize("headers", [{}, {"traceparent": "rubbish", "tracestate": "a=b"}])
def test_without_a_valid_trace_one_is_begun(client: httpx.Client, headers: dict[str, str]) -> None:
    first, second = (client.get("/api/trace", headers=headers).json() for _ in range(2))
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", first["parent"])
    assert (first["parent"], first["id"]) != (second["parent"], second["id"])
    assert first["state"] == ""


def test_settings_reach_the_app_and_a_variable_wins(client: httpx.Client) -> None:
    answer = client.get("/api/environment?COLOUR=1&SHAPE=1&COUNT=1&WARMED_UP=1").json()
    assert answer["values"] == {"COLOUR": "green", "SHAPE": "square", "COUNT": "3", "WARMED_UP": "yes"}
    assert answer["folder"] == str(APPS / "basic")


def test_what_the_app_prints_and_logs_goes_to_the_log(basic: Running, client: httpx.Client) -> None:
    client.get("/api/chatter")
    assert "printed by the app" in basic.log
    assert re.search(r"INFO shop: logged by the app", basic.log)
    assert re.search(r"Executed 'Functions\.chatter' \(Succeeded, Id=[0-9a-f-]{36}, Duration=\d+ms\)", basic.log)


def test_a_function_runs_on_when_its_client_has_gone(client: httpx.Client, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    with contextlib.suppress(httpx.ReadTimeout):
        client.get("/api/slow", params={"begun": str(begun), "ended": str(ended)}, timeout=0.1)
    eventually(ended.exists)


def test_a_preflight_is_answered_by_the_host(client: httpx.Client) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-own",
    }
    answer = client.options("/api/length", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-allow-headers"] == "x-own"
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_an_answer_is_shared_with_allowed_origins_only(client: httpx.Client) -> None:
    for origin, allowed in (("https://other.example", "https://other.example"), ("https://evil.example", None)):
        answer = client.get("/api/nothing", headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed


def test_the_host_has_a_home_page_of_its_own(client: httpx.Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert "up and running" in answer.text


def test_no_key_is_asked_for_by_default(client: httpx.Client) -> None:
    assert client.get("/api/guarded").text == client.get("/api/ruled").text == "in"


def test_the_list_of_functions_is_printed_with_their_addresses(basic: Running) -> None:
    assert re.search(rf"echo: +{basic.address}/api/echo/{{number:int\?}}\n", basic.log)
    assert re.search(rf"length: +\[POST,PUT\] {basic.address}/api/length\n", basic.log)
    assert re.search(r"yearly: +timerTrigger\n", basic.log)


def test_with_keys_asked_for_each_level_is_enforced(start_host: StartHost, tmp_path: Path, yearly_mark: Path) -> None:
    file = tmp_path / "keys.json"
    with start_host("basic", "--enable-auth", "--keys-file", file, YEARLY_MARK=str(yearly_mark)) as host:
        keys = json.loads(file.read_text())

        def status(path: str, key: str | None = None, method: str = "GET") -> int:
            headers = {"x-functions-key": key} if key else {}
            answer = httpx.request(method, host.address + path, headers=headers)
            assert answer.status_code != 401 or answer.content == b""
            return answer.status_code

        assert status("/api/echo") == 200
        assert [status("/api/guarded"), status("/api/guarded", "wrong")] == [401, 401]
        assert status("/api/guarded", keys["functions"]["guarded"]) == 200
        assert status(f"/api/guarded?code={keys['default']}") == 200
        assert status("/api/guarded", keys["functions"]["ruled"]) == 401
        assert [status("/api/ruled", keys["default"]), status("/api/ruled", keys["master"])] == [401, 200]
        assert [status("/admin/functions", keys["default"]), status("/admin/functions", keys["master"])] == [401, 200]
        assert status("/runtime/webhooks/EventGrid?functionName=on_event", method="POST") == 401
        assert not any(key in host.log for key in (keys["master"], keys["default"], keys["eventgrid_extension"]))


@pytest.fixture(scope="module")
def prefixless(start_host: StartHost) -> Iterator[Running]:
    with start_host("prefixless", "--quiet") as host:
        yield host


def test_without_a_prefix_routes_start_at_the_root(prefixless: Running) -> None:
    assert httpx.get(f"{prefixless.address}/").text == "own page"
    assert httpx.post(f"{prefixless.address}/v1/models/m:predict").text == "m"
    assert httpx.get(f"{prefixless.address}/api/pid").status_code == 404


def test_custom_headers_are_added_where_the_function_set_none(prefixless: Running) -> None:
    page = httpx.get(f"{prefixless.address}/")
    assert page.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(f"{prefixless.address}/nowhere").headers["x-frame-options"] == "DENY"


def test_a_function_that_runs_too_long_is_ended(prefixless: Running) -> None:
    answer = httpx.get(f"{prefixless.address}/endless", timeout=PATIENCE)
    assert (answer.status_code, answer.content) == (500, b"")
    assert re.search(r"'Functions\.endless' .*it ran longer than functionTimeout \(1 s\)", prefixless.log)


def test_a_warm_up_that_fails_does_not_keep_the_host_from_starting(prefixless: Running) -> None:
    assert re.search(r"'Functions\.warm_up' \(Failed, ", prefixless.log)


def test_a_quiet_host_says_nothing_of_what_succeeds(prefixless: Running) -> None:
    httpx.get(f"{prefixless.address}/pid")
    assert "Succeeded" not in prefixless.log
