"""Route templates, their constraints, and which function answers a request: as ASP.NET Core and Azure do it."""

from collections.abc import Iterable

import pytest

from devstack.host.routing import Route, RouteTable, decode_path, hidden_routes
from devstack.host.templates import Template


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        # Literals, in any case, and a trailing slash.
        ("api/score", "/API/Score/", {}),
        ("api/score", "/api", None),
        ("api/score", "/api//score", None),
        # Parameters.
        ("items/{id}", "/items/5", {"id": "5"}),
        ("items/{id}", "/items", None),
        ("items/{id}", "/items/", None),
        ("items/{id?}", "/items", {}),
        ("items/{id=1}", "/items", {"id": "1"}),
        # Constraints.
        ("items/{id:int}", "/items/x", None),
        ("items/{id:int?}", "/items", {}),
        ("items/{id:int:min(3)}", "/items/2", None),
        ("items/{id:length(2)=ab}", "/items", {"id": "ab"}),
        (r"{code:regex(^[a-z]{{2}}:.$)}", "/de:x", {"code": "de:x"}),
        ("{day:datetime}", "/2023-02-29", None),
        ("{id:guid}", "/c8f2a6b0-1d2e-4f3a-9b8c-7d6e5f4a3b2c", {"id": "c8f2a6b0-1d2e-4f3a-9b8c-7d6e5f4a3b2c"}),
        ("{id:int}", "/2147483648", None),
        ("{name:regex(cat)}", "/Concatenate", {"name": "Concatenate"}),
        # The rest of the path.
        ("files/{*path}", "/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{*path}", "/files", {}),
        ("{*path:minlength(3)}", "/ab", None),
        # The root.
        ("", "/", {}),
        ("{ignored:maxlength(0)?}", "/", {}),
        ("{ignored:maxlength(0)?}", "/x", None),
        # Complex segments: literals are found from the right, so the first parameter is the greedy one.
        ("models/{model}:predict", "/models/imagenet:PREDICT", {"model": "imagenet"}),
        ("models/{model}:predict", "/models/a:predict:predict", {"model": "a:predict"}),
        ("models/{model}:predict", "/models/:predict", None),
        ("v/{version:int}:predict", "/v/x:predict", None),
        ("{a}-{b}", "/1-2-3", {"a": "1-2", "b": "3"}),
        ("x{a}y{b}z", "/x1y2z", {"a": "1", "b": "2"}),
        ("a{{b}}c", "/a{b}c", {}),
        ("{name}.{extension?}", "/photo.jpg", {"name": "photo", "extension": "jpg"}),
        ("{name}.{extension?}", "/photo", {"name": "photo"}),
        # Percent-encoding is decoded once, except for the slash.
        ("items/{id}", "/items/%C3%A4%20b", {"id": "ä b"}),
        ("items/{id}", "/items/a%2fb", {"id": "a%2Fb"}),
        ("items/{id}", "/items/%FF", {"id": "%FF"}),
        ("items/{id}", "/items/%2525", {"id": "%25"}),
        # Dot segments.
        ("b", "/a/../b", {}),
        ("b", "/a/%2e%2e/b", {}),
    ],
)
def test_a_template_matches_as_in_aspnet_core(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Template.parse(template).match(decode_path(path.encode())) == values


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("a//b", "empty segment"),
        ("{a", "not closed"),
        ("{a}{b}", "needs text between"),
        ("{a}/{A}", "occurs twice"),
        ("{*a}/b", "must be the last segment"),
        ("{a?}.txt", "must end its segment"),
        ("{a:nosuch}", "not a route constraint"),
        ("{a:regex([)}", "not a regular expression"),
    ],
)
def test_a_malformed_template_is_refused(template: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Template.parse(template)


def _table(*routes: tuple[str, str, Iterable[str] | None]) -> RouteTable:
    return RouteTable([Route.parse(*route) for route in routes])


def test_the_method_and_the_constraints_select_the_function() -> None:
    table = _table(
        ("read", "items", ["get"]), ("write", "items", ["POST"]), ("x", "i/{id:int}", None), ("y", "i/{name}", None)
    )
    assert table.match("GET", b"/items") == ("read", {})
    assert table.match("POST", b"/items") == ("write", {})
    assert table.match("DELETE", b"/items") is None
    assert table.match("PURGE", b"/i/5") == ("x", {"id": "5"})
    assert table.match("GET", b"/i/five") == ("y", {"name": "five"})
    # In the order of their names.
    assert _table(("Zeta", "i/new", None), ("alpha", "i/{id}", None)).match("GET", b"/i/new") == (
        "alpha",
        {"id": "new"},
    )


def test_hidden_routes_are_found() -> None:
    table = _table(("a_page", "{*path}", ["GET"]), ("score", "score", ["GET"]), ("upload", "score", ["POST"]))
    assert [(first.function, second.function) for first, second in hidden_routes(table.routes)] == [("a_page", "score")]
    separate = _table(
        ("a", "v1/models/{model}", ["GET"]), ("b", "v1/models/{model}:predict", ["POST"]), ("c", "v1/{*rest}", ["GET"])
    )
    assert list(hidden_routes(separate.routes)) == []
