"""Route templates of ASP.NET Core, which the ``route`` of an HTTP trigger is.

The grammar (https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-templates): segments between
slashes, each of literals and parameters: ``{name}``, ``{name?}`` (optional), ``{name=default}``,
``{name:constraint}``, ``{*name}`` and ``{**name}`` (the rest of the path). Literal braces are doubled.
A segment of several parts, such as ``{model}:predict``, is *complex*.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from devstack.host.constraints import constraint


@dataclass(frozen=True)
class Literal:
    """Text that the path must contain, in any case."""

    text: str


@dataclass(frozen=True)
class Parameter:
    """A variable part of the path. Its value must satisfy every check."""

    name: str
    checks: tuple[Callable[[str], bool], ...] = ()
    default: str | None = None
    optional: bool = False
    catch_all: bool = False


type Part = Literal | Parameter
type Segment = tuple[Part, ...]


@dataclass(frozen=True)
class Template:
    """A parsed template."""

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, template: str) -> "Template":
        """Parse a route template.

        Raises:
            ValueError: the template is malformed; the message says what is wrong with it.
        """
        text = template.removeprefix("~/").removeprefix("/").removesuffix("/")
        if not text:
            return cls(())
        segments = [_parse_segment(segment) for segment in _split(text, "/", "{}")]
        if () in segments:
            raise ValueError("it has an empty segment: remove the second of the two slashes")
        _check(segments)
        return cls(tuple(segments))

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the parameters; None where ``path`` (decoded, without a final slash) does not match."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        texts = zip(parameters_of(self.segments), found.groups(), strict=True)
        values = {parameter: parameter.default if text is None else text for parameter, text in texts}
        given = {parameter: value for parameter, value in values.items() if value is not None}
        if not all(check(value) for parameter, value in given.items() for check in parameter.checks):
            return None
        return {parameter.name: value for parameter, value in given.items()}

    @property
    def precedence(self) -> tuple[int, ...]:
        """How specific each segment is, lower for more, by which ASP.NET Core's own endpoint routing sorts."""
        return tuple(_precedence(segment) for segment in self.segments)

    @property
    def example(self) -> str:
        """A path that matches, unless a constraint forbids it."""
        return "".join(
            "/" + "".join(part.text if isinstance(part, Literal) else "x" for part in segment)
            for segment in self.segments
            if not (isinstance(segment[0], Parameter) and (segment[0].catch_all or segment[0].optional))
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Matches paths, with a group for each parameter."""
        pattern, omissible = "", True
        for segment in reversed(self.segments):
            part = segment[0]
            # A segment can be absent only together with all that follow it.
            omissible = omissible and len(segment) == 1 and isinstance(part, Parameter) and _may_be_absent(part)
            pattern = f"(?:/{_segment_pattern(segment)}){'?' if omissible else ''}{pattern}"
        return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def parameters_of(segments: Sequence[Segment]) -> Iterator[Parameter]:
    """The parameters of a template, from left to right."""
    return (part for segment in segments for part in segment if isinstance(part, Parameter))


def _may_be_absent(parameter: Parameter) -> bool:
    return parameter.optional or parameter.catch_all or parameter.default is not None


def _segment_pattern(segment: Segment) -> str:
    last = segment[-1]
    if len(segment) > 1 and isinstance(last, Parameter) and last.optional:
        # The parameter before the dot takes all where nothing follows, and then it cannot end in a dot.
        return _parts_pattern(segment[:-3]) + r"([^/]+?)(?:\.([^/.]*[^/])|(?<!\.))"
    return _parts_pattern(segment)


def _parts_pattern(parts: Sequence[Part]) -> str:
    """The first parameter is the greedy one: ``{name}.{extension}`` splits ``a.b.c`` into ``a.b`` and ``c``."""
    return "".join(
        re.escape(part.text) if isinstance(part, Literal) else "(.*)" if part.catch_all else "([^/]+)" for part in parts
    )


def _precedence(segment: Segment) -> int:
    part = segment[0]
    if len(segment) > 1:
        return 2
    if isinstance(part, Literal):
        return 1
    if part.catch_all:
        return 4 if part.checks else 5
    return 2 if part.checks else 3


def _split(text: str, separator: str, brackets: str) -> list[str]:
    """Split at the separators outside brackets: a constraint may contain some."""
    pieces, depth = [""], 0
    for character in text:
        depth += {brackets[0]: 1, brackets[1]: -1}.get(character, 0)
        if character == separator and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


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
            raise ValueError("a '}' has no '{' before it: double it, or add the '{'")
        else:
            literal, at = literal + text[at], at + 1
    if literal:
        parts.append(Literal(literal))
    return tuple(parts)


def _closing_brace(text: str, start: int) -> int:
    """The end of the parameter that opens at ``start``; doubled braces belong to its constraint."""
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
    declaration, *rest = _split(text, "=", "()")
    default = "=".join(rest) if rest else None
    optional = declaration.endswith("?") and default is None
    name, *checks = _split(declaration.removesuffix("?") if optional else declaration, ":", "()")
    if not name or any(character in name for character in "/{}?*"):
        raise ValueError(f"'{{{text}}}' has no valid parameter name")
    if catch_all and optional:
        raise ValueError(f"'{{{text}}}' takes the rest of the path and so cannot be optional: remove the '?'")
    return Parameter(name, tuple(map(constraint, checks)), default, optional, catch_all)


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
    optionals = [part for part in segment if isinstance(part, Parameter) and part.optional]
    if len(segment) > 1 and optionals and (segment[1:-1][-1:] != (Literal("."),) or segment[-1:] != tuple(optionals)):
        raise ValueError(f"'{{{optionals[0].name}?}}' must end its segment, after a '.'")
