"""Route templates as ASP.NET Core writes them, which is what an HTTP trigger's ``route`` is.

The grammar (https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates): segments between
slashes, each of literals and parameters: ``{name}``, ``{name?}`` (optional), ``{name=default}``,
``{name:constraint}``, ``{*name}`` and ``{**name}`` (the rest of the path). A brace that is meant is doubled.
A segment of several parts, such as ``{model}:predict``, is a *complex* one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from devstack.host.constraints import constraint


@dataclass(frozen=True)
class Literal:
    """Text that the path must hold, in any case."""

    text: str


@dataclass(frozen=True)
class Parameter:
    """A named hole in the template. Its value must satisfy every check."""

    name: str
    checks: tuple[Callable[[str], bool], ...] = ()
    default: str | None = None
    optional: bool = False
    catch_all: bool = False


type Part = Literal | Parameter
type Segment = tuple[Part, ...]


def parse_template(template: str) -> tuple[Segment, ...]:
    """Parse a route template.

    Raises:
        ValueError: the template is malformed; the message says what is wrong with it.
    """
    text = template.removeprefix("~/").removeprefix("/").removesuffix("/")
    if not text:
        return ()
    segments = tuple(_parse_segment(segment) for segment in _split_segments(text))
    _check(segments)
    return segments


def parameters_of(segments: Sequence[Segment]) -> Iterator[Parameter]:
    """The parameters of a template, from left to right."""
    return (part for segment in segments for part in segment if isinstance(part, Parameter))


def precedence(segments: Sequence[Segment]) -> tuple[int, ...]:
    """How specific each segment is, the lower the more: what ASP.NET Core's own endpoint routing sorts by."""
    return tuple(_segment_precedence(segment) for segment in segments)


def _segment_precedence(segment: Segment) -> int:
    part = segment[0]
    if len(segment) > 1:
        return 2
    if isinstance(part, Literal):
        return 1
    if part.catch_all:
        return 4 if part.checks else 5
    return 2 if part.checks else 3


def _split_segments(text: str) -> list[str]:
    """Split at the slashes that stand outside braces: a constraint may hold some."""
    segments, depth = [""], 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            segments.append("")
        else:
            segments[-1] += character
    if "" in segments:
        raise ValueError("it has an empty segment: take out the second of the two slashes")
    return segments


def _parse_segment(text: str) -> Segment:
    parts: list[Part] = []
    literal, at = "", 0
    while at < len(text):
        if text[at : at + 2] in {"{{", "}}"}:
            literal, at = literal + text[at], at + 2
        elif text[at] == "{":
            if literal:
                parts.append(Literal(literal))
            literal, end = "", _closing_brace(text, at)
            parts.append(_parse_parameter(text[at + 1 : end]))
            at = end + 1
        elif text[at] == "}":
            raise ValueError("a '}' stands alone: double it, or open it with '{'")
        else:
            literal, at = literal + text[at], at + 1
    if literal:
        parts.append(Literal(literal))
    return tuple(parts)


def _closing_brace(text: str, start: int) -> int:
    """Return where the parameter that opens at ``start`` ends; doubled braces belong to its constraint."""
    at = start + 1
    while at < len(text):
        if text[at : at + 2] in {"{{", "}}"}:
            at += 2
        elif text[at] == "}":
            return at
        elif text[at] == "{":
            break
        else:
            at += 1
    raise ValueError("a '{' is not closed: end the parameter with '}'")


def _parse_parameter(text: str) -> Parameter:
    catch_all = text.startswith("*")
    text = text.lstrip("*").replace("{{", "{").replace("}}", "}")
    declaration, equals, default = _split_default(text)
    optional = declaration.endswith("?") and not equals
    name, *checks = _split_constraints(declaration.removesuffix("?") if optional else declaration)
    if not name or any(character in name for character in "/{}?*"):
        raise ValueError(f"'{{{text}}}' has no valid parameter name")
    if catch_all and optional:
        raise ValueError(f"'{{{text}}}' takes the rest of the path and so cannot be optional: take out the '?'")
    return Parameter(name, tuple(map(constraint, checks)), default if equals else None, optional, catch_all)


def _split_default(text: str) -> tuple[str, str, str]:
    """Split at the '=' that stands outside a constraint's parentheses."""
    depth = 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "=" and depth == 0:
            return text[:at], "=", text[at + 1 :]
    return text, "", ""


def _split_constraints(text: str) -> list[str]:
    """Split at the colons that stand outside parentheses."""
    pieces, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == ":" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _check(segments: Sequence[Segment]) -> None:
    names = [parameter.name.lower() for parameter in parameters_of(segments)]
    if len(names) != len(set(names)):
        raise ValueError("a parameter's name occurs twice: rename one")
    for index, segment in enumerate(segments):
        _check_segment(segment, last=index == len(segments) - 1)


def _check_segment(segment: Segment, *, last: bool) -> None:
    catch_alls = [part for part in segment if isinstance(part, Parameter) and part.catch_all]
    if catch_alls and (len(segment) > 1 or not last):
        raise ValueError(f"'{{*{catch_alls[0].name}}}' must be the last segment, alone")
    for left, right in pairwise(segment):
        if isinstance(left, Parameter) and isinstance(right, Parameter):
            raise ValueError(f"'{{{left.name}}}{{{right.name}}}' needs text between the two parameters")
    if len(segment) > 1:
        _check_optional(segment)


def _check_optional(segment: Segment) -> None:
    for index, part in enumerate(segment):
        if isinstance(part, Parameter) and part.optional:
            before = segment[index - 1]
            if index != len(segment) - 1 or index == 0 or before != Literal("."):
                raise ValueError(f"'{{{part.name}?}}' must end its segment, after a '.'")
