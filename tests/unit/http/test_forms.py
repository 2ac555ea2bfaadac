"""Forms are parsed as the library parses them, however they are written."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import RequestEntityTooLarge

from functions.http import forms
from functions.http.forms import Part, parts

HEADERS = (
    b'Content-Disposition: form-data; name="image"; filename="a.jpg"',
    b'content-disposition: form-data; name="top"',
    b"Content-Disposition: form-data; name=top",
    b'Content-Disposition: form-data; name="image"; filename="a%22.jpg"',
    b"Content-Disposition: form-data; name=image; filename*=UTF-8''na%C3%AFve.jpg",
    'Content-Disposition: form-data; name="image"; filename="naïve.jpg"'.encode(),
    b'Content-Disposition: form-data; name="image"; filename="C:\\a.jpg"',
    b'Content-Disposition: form-data; filename="a.jpg"',
    b'Content-Disposition: form-data;\r\n name="continued"',
    b"Content-Type: image/jpeg",
    b"Content-Transfer-Encoding: BASE64",
    b"X-Other:",
    b"no colon",
    b" : no name",
)
some_headers = st.lists(st.sampled_from(HEADERS), max_size=3).map(b"\r\n".join)
contents = st.sampled_from(
    [b"", b"x", b"\r\n", b"--b", b"\r\n--", b"\r\n--bb\r\n", b"a\r\n\r\nb", b"\xff\xd8\x00", b"\n--b\n"]
)
ends = st.sampled_from([b"\r\n--b\r\n", b"\r\n--b \r\n", b"\r\n--b", b"\n--b\n", b"\r\n--bx"])


@settings(max_examples=400, deadline=None, database=None)
@example([(HEADERS[0], b"x", b"\r\n--b\r\n"), (HEADERS[1], b"", b"")], b"--b\r\n", b"\r\n--b--\r\n", 0, b"")
@example([(HEADERS[0], b"x", b"\r\n--b\r\n"), (HEADERS[1], b"1", b"")], b"--b\r\n", b"\r\n--b--", 0, b"")
@given(
    st.lists(st.tuples(some_headers, contents, ends), max_size=3),
    st.sampled_from([b"--b\r\n", b"", b"preamble\r\n--b\r\n", b"\r\n--b\r\n"]),
    st.sampled_from([b"\r\n--b--\r\n", b"\r\n--b--", b"--b--\r\n", b"", b"\r\n--b--\r\nepilogue"]),
    st.integers(0, 100),
    st.sampled_from([b"", b"\r\n", b"\n", b"\r", b"-", b":", b'"']),
)
def test_the_parts_are_those_that_the_library_finds(
    written: list[tuple[bytes, bytes, bytes]], start: bytes, end: bytes, at: int, extra: bytes
) -> None:
    last = len(written) - 1
    pieces = [
        headers + b"\r\n\r\n" + content + (b"" if index == last else delimiter)
        for index, (headers, content, delimiter) in enumerate(written)
    ]
    body = start + b"".join(pieces) + end
    body = body[:at] + extra + body[at:]

    assert outcome(lambda: parts(body, "b")) == outcome(lambda: forms._parts(body, "b"))


def test_ordinary_forms_are_not_left_to_the_library() -> None:
    body = b"--b\r\n" + HEADERS[0] + b"\r\n\r\npicture\r\n--b\r\n" + HEADERS[2] + b"\r\n\r\n3\r\n--b--\r\n"

    found = forms._plain_parts(body, b"--b")

    assert found == [Part("image", "a.jpg", "", "", b"picture"), Part("top", None, "", "", b"3")]


def outcome(parse: Any) -> object:
    """The parts, or that the form is refused."""
    try:
        return list(parse())
    except (ValueError, RequestEntityTooLarge, KeyError) as error:
        return type(error).__name__ if isinstance(error, RequestEntityTooLarge) else "malformed"
