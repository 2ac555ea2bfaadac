"""Parsing of a request's body, query and headers."""

import base64
import json
import time
from typing import Any

import azure.functions as func
import pytest

from functions.http.requests import ranking, request_context
from functions.http.uploads import uploads
from shared import errors
from shared.errors import GatewayError
from shared.scoring.types import Ranking, Upload

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


def request(body: bytes, content_type: str | None, **headers: str) -> func.HttpRequest:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        fields["Content-Type"] = content_type
    return func.HttpRequest("POST", "http://localhost/api/score", headers=fields, body=body)


def form(*parts: bytes, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> func.HttpRequest:
    body = b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + end
    return request(body, f"multipart/form-data; boundary={BOUNDARY}")


def part(data: bytes, disposition: str = 'form-data; name="file"; filename="a.jpg"') -> bytes:
    return f"Content-Disposition: {disposition}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + data


def document(content: Any) -> func.HttpRequest:
    return request(json.dumps(content).encode(), "application/json; charset=utf-8")


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/HEIC", "image/*", "application/octet-stream"])
def test_a_raw_body_is_one_image(kind: str) -> None:
    assert uploads(request(b"bytes", kind)) == [Upload("body", b"bytes")]


def test_a_form_contains_files_in_fields_of_any_name() -> None:
    upload = form(
        part(b"one"),
        part(b"two\r\nlines\r\n", 'form-data; name="other"; filename="b c.png"'),
        part(b"three", "form-data; name=x; filename*=UTF-8''%C3%A9t%C3%A9.jpg"),
    )

    assert uploads(upload) == [
        Upload("a.jpg", b"one"),
        Upload("b c.png", b"two\r\nlines\r\n"),
        Upload("été.jpg", b"three"),
    ]


def test_a_large_file_in_a_form_is_complete() -> None:
    data = bytes(range(256)) * 20_000

    assert uploads(form(part(data), part(b"x"))) == [Upload("a.jpg", data), Upload("a.jpg", b"x")]


def test_json_contains_images_in_base64() -> None:
    text = base64.b64encode(b"bytes").decode()

    named = {"b64": f"data:image/png;base64,{text}", "name": "cat.png"}
    upload = document({"images": [{"b64": text}, named, {"b64": text, "name": None}]})

    assert uploads(upload) == [
        Upload("images[0]", b"bytes"),
        Upload("cat.png", b"bytes"),
        Upload("images[2]", b"bytes"),
    ]


@pytest.mark.parametrize(
    ("upload", "kind", "detail"),
    [
        (request(b"", "image/png"), errors.EmptyBody, "The request's body is empty."),
        (request(b"", None), errors.EmptyBody, "The request's body is empty."),
        (request(b"", "image/png", Transfer_Encoding="chunked"), errors.LengthRequired, "The upload is chunked"),
        (request(b"x", None), errors.UnsupportedContentType, "The Content-Type is missing."),
        (request(b"x", "text/plain"), errors.UnsupportedContentType, "The Content-Type is 'text/plain'."),
        (request(b"x", "application/x-www-form-urlencoded"), errors.UnsupportedContentType, "x-www-form"),
        (request(b"x", "multipart/form-data"), errors.MalformedMultipart, "names no boundary"),
        (request(b"not a form", f"multipart/form-data; boundary={BOUNDARY}"), errors.MalformedMultipart, "form"),
        (form(), errors.EmptyBody, "The request contains no image."),
        (form(part(b"one"), end=b""), errors.MalformedMultipart, "ends prematurely"),
        (form(part(b"one"), end=b"--"), errors.MalformedMultipart, "ends prematurely"),
        (form(b"Content-Type: image/png\r\n\r\nx"), errors.MalformedMultipart, "not well-formed"),
        (form(part(b"5", 'form-data; name="top"')), errors.PartWithoutFile, "The part 'top' has no file name."),
        (form(part(b"one"), part(b"")), errors.EmptyBody, "The file 'a.jpg' is empty."),
        (request(b"{", "application/json"), errors.MalformedJson, "not JSON"),
        (request(b"\xff", "application/json"), errors.MalformedJson, "not JSON"),
        (request(b"[" * 100_000, "application/json"), errors.MalformedJson, "not JSON"),
        (document([]), errors.MalformedJson, "The JSON has no list 'images'."),
        (document({"image": 1}), errors.MalformedJson, "The JSON has no list 'images'."),
        (document({"images": {}}), errors.MalformedJson, "The JSON has no list 'images'."),
        (document({"images": []}), errors.EmptyBody, "The request contains no image."),
        (document({"images": ["x"]}), errors.MalformedJson, "images[0] has no string 'b64'."),
        (document({"images": [{"b64": 5}]}), errors.MalformedJson, "images[0] has no string 'b64'."),
        (document({"images": [{"b64": "!"}]}), errors.MalformedBase64, "images[0].b64 is not base64."),
        (document({"images": [{"b64": "abc"}]}), errors.MalformedBase64, "images[0].b64 is not base64."),
        (document({"images": [{"b64": "é"}]}), errors.MalformedBase64, "images[0].b64 is not base64."),
        (document({"images": [{"b64": "", "name": 5}]}), errors.MalformedJson, "images[0].name is not a string."),
        (document({"images": [{"b64": ""}]}), errors.EmptyBody, "The file 'images[0]' is empty."),
    ],
)
def test_an_invalid_body_is_rejected(upload: func.HttpRequest, kind: type[GatewayError], detail: str) -> None:
    with pytest.raises(GatewayError) as caught:
        uploads(upload)

    assert type(caught.value) is kind
    assert detail in caught.value.detail


def test_the_query_sets_the_number_of_labels_and_the_threshold() -> None:
    assert ranking({}) == Ranking(5, 0.0)
    assert ranking({"top": "0", "threshold": "0.5", "code": "x"}) == Ranking(0, 0.5)
    assert ranking({"top": "1000", "threshold": "1e-3"}) == Ranking(1000, 0.001)


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
    assert len(caught.value.detail) < 100


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
    traced = request(b"", None, traceparent=PARENT, tracestate="a=b")

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

    context = request_context(request(b"", None, traceparent=parent, tracestate="a=b"), invocation, 2)

    assert (context.traceparent, context.tracestate) == ("", "")


@pytest.mark.parametrize("state", ["a=é", "a=\x00", "a" * 513])
def test_a_malformed_tracestate_does_not_invalidate_the_trace(state: str) -> None:
    invocation: Any = Invocation()

    context = request_context(request(b"", None, traceparent=PARENT, tracestate=state), invocation, 2)

    assert (context.traceparent, context.tracestate) == (PARENT, "")


@pytest.mark.parametrize("text", ["250", "1", "999999999"])
def test_a_client_can_shorten_the_deadline_but_not_extend_it(text: str) -> None:
    invocation: Any = Invocation()

    context = request_context(request(b"", None, Request_Timeout_Ms=text), invocation, 2)

    assert context.deadline - time.monotonic() <= min(2, int(text) / 1000)


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "1.5", "1e3", "٣", "9" * 5000])
def test_the_error_names_an_invalid_timeout(text: str) -> None:
    invocation: Any = Invocation()

    with pytest.raises(errors.InvalidParameter) as caught:
        request_context(request(b"", None, Request_Timeout_Ms=text), invocation, 2)

    assert caught.value.members["parameter"] == "Request-Timeout-Ms"
