from collections.abc import Iterable

import pytest

from devstack.host.routing import Route, RouteTable, hidden_routes, match_template, split_path
from devstack.host.templates import parse_template


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        # Literals, in any case, and a slash at the end.
        ("api/score", "/api/score", {}),
        ("api/score", "/API/Score/", {}),
        ("api/score", "/api/scores", None),
        ("api/score", "/api", None),
        ("api/score", "/api/score/more", None),
        ("api/score", "/api//score", None),
        # Parameters.
        ("items/{id}", "/items/5", {"id": "5"}),
        ("items/{id}", "/items", None),
        ("items/{id}", "/items/", None),
        ("items/{id?}", "/items", {}),
        ("items/{id?}", "/items/5", {"id": "5"}),
        ("items/{id=1}", "/items", {"id": "1"}),
        ("items/{id=1}", "/items/2", {"id": "2"}),
        ("{a}/{b?}", "/x", {"a": "x"}),
        # Constraints.
        ("items/{id:int}", "/items/5", {"id": "5"}),
        ("items/{id:int}", "/items/x", None),
        ("items/{id:int?}", "/items", {}),
        ("items/{id:int:min(3)}", "/items/2", None),
        ("items/{id:length(2)=ab}", "/items", {"id": "ab"}),
        # The rest of the path.
        ("files/{*path}", "/files/a/b.txt", {"path": "a/b.txt"}),
        ("files/{*path}", "/files", {}),
        ("files/{*path=index}", "/files", {"path": "index"}),
        ("{**path}", "/", {}),
        ("{*path:minlength(3)}", "/ab", None),
        # The root, and the known way to answer at it.
        ("", "/", {}),
        ("{ignored:maxlength(0)?}", "/", {}),
        ("{ignored:maxlength(0)?}", "/x", None),
        # Complex segments: literals are looked for from the right, so the first parameter is the greedy one.
        ("models/{model}:predict", "/models/imagenet:predict", {"model": "imagenet"}),
        ("models/{model}:predict", "/models/imagenet:PREDICT", {"model": "imagenet"}),
        ("models/{model}:predict", "/models/a:predict:predict", {"model": "a:predict"}),
        ("models/{model}:predict", "/models/:predict", None),
        ("models/{model}:predict", "/models/imagenet", None),
        ("models/{model}:predict", "/models/imagenet:classify", None),
        ("v/{version:int}:predict", "/v/3:predict", {"version": "3"}),
        ("v/{version:int}:predict", "/v/x:predict", None),
        ("{a}-{b}", "/1-2-3", {"a": "1-2", "b": "3"}),
        ("{a}-{b}", "/1-", None),
        ("{a}-{b}", "/-2", None),
        ("v{a}", "/v12", {"a": "12"}),
        ("v{a}", "/w12", None),
        ("x{a}y{b}z", "/x1y2z", {"a": "1", "b": "2"}),
        ("x{a}y{b}z", "/x1y2z3", None),
        ("{name}.{extension?}", "/photo.jpg", {"name": "photo", "extension": "jpg"}),
        ("{name}.{extension?}", "/photo", {"name": "photo"}),
        ("{name}.{extension?}", "/photo.", None),
        # Percent-encoding: decoded once, but for the slash.
        ("items/{id}", "/items/a%20b", {"id": "a b"}),
        ("items/{id}", "/items/%C3%A4", {"id": "ä"}),
        ("items/{id}", "/items/a%2Fb", {"id": "a%2Fb"}),
        ("items/{id}", "/items/a%2fb", {"id": "a%2Fb"}),
        ("items/{id}", "/items/%FF", {"id": "%FF"}),
        ("items/{id}", "/items/a+b", {"id": "a+b"}),
        ("items/{id}", "/items/%2525", {"id": "%25"}),
        # Dot segments.
        ("b", "/a/../b", {}),
        ("b", "/./b", {}),
        ("b", "/../../b", {}),
        ("b", "/a/%2e%2e/b", {}),
    ],
)
def test_a_template_matches_as_in_aspnet_core(template: str, path: str, values: dict[str, str] | None) -> None:
    assert match_template(parse_template(template), split_path(path.encode())) == values


def _table(*routes: tuple[str, str, Iterable[str] | None]) -> RouteTable:
    return RouteTable([Route.parse(*route) for route in routes])


def test_the_method_chooses_between_functions_of_one_route() -> None:
    table = _table(("read", "items", ["get"]), ("write", "items", ["POST"]))
    assert table.match("GET", b"/items") == ("read", {})
    assert table.match("POST", b"/items") == ("write", {})
    assert table.match("DELETE", b"/items") is None


def test_a_function_without_methods_takes_all_of_them() -> None:
    assert _table(("any", "items", None)).match("PURGE", b"/items") == ("any", {})


def test_functions_are_tried_in_the_order_of_their_names_as_in_azure() -> None:
    greedy_first = _table(("Zeta", "items/new", None), ("alpha", "items/{id}", None))
    assert greedy_first.match("GET", b"/items/new") == ("alpha", {"id": "new"})
    greedy_last = _table(("zeta", "items/{id}", None), ("Alpha", "items/new", None))
    assert greedy_last.match("GET", b"/items/new") == ("Alpha", {})


def test_a_constraint_lets_the_next_function_have_the_request() -> None:
    table = _table(("a", "items/{id:int}", None), ("b", "items/{name}", None))
    assert table.match("GET", b"/items/5") == ("a", {"id": "5"})
    assert table.match("GET", b"/items/five") == ("b", {"name": "five"})


def test_a_route_that_another_function_hides_is_found() -> None:
    table = _table(
        ("a_page", "{*path}", ["GET"]),
        ("score", "score", ["GET"]),
        ("upload", "score", ["POST"]),
    )
    pairs = [(first.function, second.function) for first, second in hidden_routes(table.routes)]
    assert pairs == [("a_page", "score")]


def test_routes_that_do_not_meet_hide_nothing() -> None:
    table = _table(
        ("a", "v1/models/{model}", ["GET"]),
        ("b", "v1/models/{model}:predict", ["POST"]),
        ("c", "v1/{*rest}", ["GET"]),
    )
    assert list(hidden_routes(table.routes)) == []
