import http.cookies
from typing import Any

import pytest
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host.datums import join_headers, parse_query, request_datum, response_of

SCOPE = {"method": "GET", "scheme": "http", "raw_path": b"/a%20b", "query_string": b"x=1"}


def _http(status: str = "200", body: bytes = b"", cookies: Any = None, **headers: str) -> Datum:
    values = {name.replace("_", "-"): Datum(value, "string") for name, value in headers.items()}
    content = {"status_code": Datum(status, "string"), "headers": values, "cookies": cookies}
    return Datum({**content, "body": Datum(body, "bytes")}, "http")


def test_a_request_is_described_with_its_whole_address() -> None:
    value = request_datum(SCOPE, {b"host": b"h:1", b"x-a": b"b"}, {"id": "5"}, b"body").value
    assert value["url"].value == "http://h:1/a%20b?x=1"
    assert {name: datum.value for name, datum in value["headers"].items()} == {"host": "h:1", "x-a": "b"}
    assert (value["query"]["x"].value, value["params"]["id"].value) == ("1", "5")
    assert (value["body"].type, value["body"].value) == ("bytes", b"body")


def test_headers_that_come_twice_are_joined() -> None:
    assert join_headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]) == {b"a": b"1,3", b"b": b"2"}


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "1,2"}),
        ("a=1&A=2", {"a": "1,2"}),
        ("a=&b&c=3", {"c": "3"}),
        ("a=x+y%20z&b=%C3%A4", {"a": "x y z", "b": "ä"}),
        ("", {}),
    ],
)
def test_a_query_is_read_as_the_real_host_reads_it(query: str, values: dict[str, str]) -> None:
    assert parse_query(query) == values


def test_a_response_keeps_status_headers_and_body() -> None:
    response = response_of(_http("201", b"x", X_Own="yes", content_type="a/b"))
    assert (response.status, response.headers, response.body) == (
        201,
        [(b"X-Own", b"yes"), (b"content-type", b"a/b")],
        b"x",
    )


def test_what_frames_the_body_is_the_servers() -> None:
    assert response_of(_http(Content_Length="99", Transfer_Encoding="chunked")).headers == []


def test_cookies_are_written_as_aspnet_core_does() -> None:
    cookie = http.cookies.SimpleCookie("a=1+2; Path=/; HttpOnly; SameSite=Lax")
    cookie["a"]["max-age"] = "60"
    cookie["a"]["secure"] = True
    assert response_of(_http(cookies=[cookie])).headers == [
        (b"set-cookie", b"a=1%2B2; max-age=60; path=/; secure; samesite=lax; httponly")
    ]


@pytest.mark.parametrize(
    ("text", "status", "kind", "body"),
    [
        ("plain words", 200, b"text/plain; charset=utf-8", b"plain words"),
        ('{"a": 1}', 200, b"application/json; charset=utf-8", b'{"a":1}'),
        ("[1, 2]", 200, b"application/json; charset=utf-8", b"[1,2]"),
        ('{"status": 202, "body": "taken"}', 202, b"text/plain; charset=utf-8", b"taken"),
        ('{"statusCode": "404", "Body": {"a": 1}}', 404, b"application/json; charset=utf-8", b'{"a":1}'),
        ('{"body": "x", "headers": {"Content-Type": "a/b"}}', 200, b"a/b", b"x"),
        ('{"body": null}', 200, b"application/json; charset=utf-8", b""),
    ],
)
def test_a_returned_str_is_read_as_json(text: str, status: int, kind: bytes, body: bytes) -> None:
    response = response_of(Datum(text, "string"))
    headers = {name.lower(): value for name, value in response.headers}
    assert (response.status, headers[b"content-type"], response.body) == (status, kind, body)


def test_nothing_is_an_empty_answer() -> None:
    assert response_of(None).status == 200
    assert response_of(Datum(None, None)).body == b""


@pytest.mark.parametrize(
    ("datum", "complaint"),
    [
        (_http("99"), "status '99'"),
        (_http("6x"), "status '6x'"),
        (_http(X="\N{SNOWMAN}"), "not in Latin-1"),
        (_http(X="a\r\nInjected: b"), "line break"),
        (Datum(5, "int"), "return func.HttpResponse"),
    ],
)
def test_what_http_cannot_carry_is_refused(datum: Datum, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        response_of(datum)
