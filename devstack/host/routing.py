"""Which function answers a request: its path and method against the route templates.

The real host tries its functions **in the order of their names** and takes the first whose template and method
match (its router is an ordered list, not ASP.NET Core's endpoint routing). So a function named ``a_page`` with the
route ``{*path}`` hides ``score`` with the route ``score``. This module does the same, so that a route that would
be hidden in Azure is hidden here too, and :func:`hidden_routes` finds such pairs, for a warning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Self
from urllib.parse import unquote_to_bytes

from devstack.host.templates import Template

_CACHED_PATHS = 2048


@dataclass(frozen=True)
class Route:
    """One function's route. ``methods`` in upper case, None for every method."""

    function: str
    text: str
    template: Template
    methods: frozenset[str] | None = None

    @classmethod
    def parse(cls, function: str, text: str, methods: Iterable[str] | None = None) -> Self:
        """Make a route of a template.

        Raises:
            ValueError: the template is malformed.
        """
        allowed = None if methods is None else frozenset(method.upper() for method in methods)
        return cls(function, text, Template.parse(text), allowed)

    def allows(self, method: str) -> bool:
        return self.methods is None or method in self.methods


class RouteTable:
    """The routes of an app. The latest matches are cached."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: route.function.upper()))
        self.match = lru_cache(maxsize=_CACHED_PATHS)(self._match)

    def _match(self, method: str, raw_path: bytes) -> tuple[str, Mapping[str, str]] | None:
        """The function's name and the parameters' values, or None where no route matches."""
        path = decode_path(raw_path)
        for route in self.routes:
            if route.allows(method) and (values := route.template.match(path)) is not None:
                return route.function, values
        return None


def decode_path(raw_path: bytes) -> str:
    """Decode the path of a request, and remove a final slash.

    Like Kestrel: dot segments are resolved, ``%2F`` stays encoded (it is no separator), and so do bytes that are not
    UTF-8.
    """
    pieces = raw_path.removeprefix(b"/").split(b"/")
    if pieces[-1] == b"":
        pieces.pop()
    parts: list[str] = []
    for part in pieces:
        text = "%2F".join(map(_decode, part.replace(b"%2f", b"%2F").split(b"%2F")))
        if text == "..":
            del parts[-1:]
        elif text != ".":
            parts.append(text)
    return "".join(f"/{part}" for part in parts)


def hidden_routes(routes: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Pairs of (first, second) where the first is tried first although the second is more specific."""
    for first, second in combinations(routes, 2):
        share_methods = first.methods is None or second.methods is None or first.methods & second.methods
        more_specific = second.template.precedence < first.template.precedence
        if share_methods and more_specific and first.template.match(second.template.example) is not None:
            yield first, second


def _decode(piece: bytes) -> str:
    try:
        return unquote_to_bytes(piece).decode()
    except UnicodeDecodeError:
        return piece.decode("latin-1")
