"""Which function answers a request: path and method against the route templates.

The real host tries its functions **in the order of their names** and takes the first whose template and method
fit (its router is an ordered list, not ASP.NET Core's endpoint routing). So a function named ``a_page`` with the
route ``{*path}`` hides ``score`` with the route ``score``. This module does the same, so that a route that would
be hidden in Azure is hidden here too, and :func:`hidden_routes` finds such pairs so that the host can warn of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Self
from urllib.parse import unquote_to_bytes

from devstack.host.templates import (
    Literal,
    Parameter,
    Segment,
    parameters_of,
    parse_template,
    precedence,
)

_CACHED_PATHS = 2048


@dataclass(frozen=True)
class Route:
    """One function's template. ``methods`` in upper case, None for every method."""

    function: str
    template: str
    segments: tuple[Segment, ...]
    methods: frozenset[str] | None = None

    @classmethod
    def parse(cls, function: str, template: str, methods: Iterable[str] | None = None) -> Self:
        """Make a route of a template.

        Raises:
            ValueError: the template is malformed.
        """
        allowed = None if methods is None else frozenset(method.upper() for method in methods)
        return cls(function, template, parse_template(template), allowed)

    def allows(self, method: str) -> bool:
        return self.methods is None or method in self.methods


class RouteTable:
    """The routes of an app. Matching is pure, so the latest answers are remembered."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: route.function.upper()))
        self.match = lru_cache(maxsize=_CACHED_PATHS)(self._match)

    def _match(self, method: str, raw_path: bytes) -> tuple[str, Mapping[str, str]] | None:
        """Return the function's name and the parameters' values, or None where nothing answers."""
        path = split_path(raw_path)
        for route in self.routes:
            if route.allows(method):
                values = match_template(route.segments, path)
                if values is not None:
                    return route.function, values
        return None


def split_path(raw_path: bytes) -> tuple[str, ...]:
    """Split a path as it came over the wire into decoded segments.

    As Kestrel does it: dot segments are resolved, ``%2F`` stays as it is (it is no separator), and bytes that
    are not UTF-8 stay percent-encoded. A slash at the end does not count.
    """
    parts = raw_path.removeprefix(b"/").split(b"/")
    if parts[-1] == b"":
        parts.pop()
    if b"%" in raw_path or b"/." in raw_path:
        return tuple(_without_dots([_decode(part) for part in parts]))
    return tuple(part.decode("utf-8", "replace") for part in parts)


def match_template(segments: Sequence[Segment], path: Sequence[str]) -> dict[str, str] | None:
    """Match decoded path segments against a template; None where they do not fit."""
    values = _match_segments(segments, path)
    if values is None:
        return None
    for parameter in parameters_of(segments):
        value = values.get(parameter.name)
        if value is None:
            continue
        if not all(check(value) for check in parameter.checks):
            return None
    return values


def hidden_routes(routes: Sequence[Route]) -> Iterator[tuple[Route, Route]]:
    """Pairs of (first, second) where the first is tried first although the second is the more specific one."""
    for first, second in combinations(routes, 2):
        share_methods = first.methods is None or second.methods is None or first.methods & second.methods
        if share_methods and precedence(second.segments) < precedence(first.segments):
            example = _example_path(second.segments)
            if match_template(first.segments, example) is not None:
                yield first, second


def _match_segments(segments: Sequence[Segment], path: Sequence[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for index, segment in enumerate(segments):
        part = segment[0]
        if isinstance(part, Parameter) and part.catch_all:
            _set_catch_all(part, path[index:], values)
            return values
        if index >= len(path):
            if not _fits_nothing(segment, values):
                return None
        elif not path[index] or not _match_segment(segment, path[index], values):
            return None
    return values if len(path) <= len(segments) else None


def _set_catch_all(part: Parameter, rest: Sequence[str], values: dict[str, str]) -> None:
    if rest:
        values[part.name] = "/".join(rest)
    elif part.default is not None:
        values[part.name] = part.default


def _fits_nothing(segment: Segment, values: dict[str, str]) -> bool:
    """Whether a segment that the path no longer has can be left out."""
    part = segment[0]
    if len(segment) > 1 or isinstance(part, Literal):
        return False
    if part.default is not None:
        values[part.name] = part.default
    return part.optional or part.default is not None


def _match_segment(segment: Segment, text: str, values: dict[str, str]) -> bool:
    part = segment[0]
    if len(segment) > 1:
        return _match_complex(segment, text, values)
    if isinstance(part, Literal):
        return part.text.lower() == text.lower()
    values[part.name] = text
    return True


def _match_complex(segment: Segment, text: str, values: dict[str, str]) -> bool:
    """Match a segment of several parts; an optional one at the end may be missing with the dot before it."""
    last = segment[-1]
    if isinstance(last, Parameter) and last.optional:
        found: dict[str, str] = {}
        if _match_from_right(segment, text, found):
            values.update(found)
            return True
        return not text.endswith(".") and _match_segment(segment[:-2], text, values)
    return _match_from_right(segment, text, values)


def _match_from_right(segment: Segment, text: str, values: dict[str, str]) -> bool:
    """Match parts from the right end: each literal at its last place, each parameter what lies between.

    So the first parameter is the greedy one: ``{name}.{extension}`` splits ``a.b.c`` into ``a.b`` and ``c``.
    """
    end, waiting, lowered = len(text), None, text.lower()
    for index in range(len(segment) - 1, -1, -1):
        part = segment[index]
        if isinstance(part, Parameter):
            waiting = part
            continue
        # A parameter that waits to the right needs a character of its own.
        start = lowered.rfind(part.text.lower(), 0, end - 1 if waiting else end)
        after = start + len(part.text)
        if start < 0 or (waiting is None and after != end):
            return False
        if waiting is not None:
            values[waiting.name] = text[after:end]
            waiting = None
        end = start
    if waiting is None:
        return end == 0
    values[waiting.name] = text[:end]
    return end > 0


def _decode(part: bytes) -> str:
    pieces = part.replace(b"%2f", b"%2F").split(b"%2F")
    return "%2F".join(_decode_piece(piece) for piece in pieces)


def _decode_piece(piece: bytes) -> str:
    try:
        return unquote_to_bytes(piece).decode()
    except UnicodeDecodeError:
        return piece.decode("latin-1")


def _without_dots(parts: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return kept


def _example_path(segments: Sequence[Segment]) -> list[str]:
    """A path that a template was written for: its literals, and a word for each parameter."""
    return [
        "".join(part.text if isinstance(part, Literal) else "x" for part in segment)
        for segment in segments
        if not (isinstance(segment[0], Parameter) and (segment[0].catch_all or segment[0].optional))
    ]
