"""The constraints of route parameters, such as ``int`` or ``length(1,8)``.

The list, and what each accepts: https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints.
"""

import datetime as dt
import decimal
import re
import uuid
from collections.abc import Callable

type Check = Callable[[str], bool]

_CALL = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+")
_REAL = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%H:%M:%S")


def constraint(text: str) -> Check:
    """The check for an inline constraint.

    Raises:
        ValueError: no such constraint exists, or its arguments are invalid.
    """
    match = _CALL.fullmatch(text.strip())
    name, argument = match.groups() if match else (text, None)
    if name in _PLAIN and argument is None:
        return _PLAIN[name]
    if name == "regex" and argument is not None:
        return _regex(argument)
    if name in _WITH_NUMBERS and argument is not None:
        return _with_numbers(text, name, argument)
    raise ValueError(f"'{text}' is not a route constraint: see ASP.NET Core's route constraint reference")


def _with_numbers(text: str, name: str, argument: str) -> Check:
    try:
        numbers = [int(number) for number in argument.split(",")]
        return _WITH_NUMBERS[name](*numbers)
    except (TypeError, ValueError):
        raise ValueError(f"'{text}' has the wrong arguments for {name}") from None


def _regex(pattern: str) -> Check:
    # Like the framework's: found anywhere in the value unless anchored, in any case.
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"'regex({pattern})' is not a regular expression: {error}") from None
    return lambda value: compiled.search(value) is not None


def _is_integer(bits: int) -> Check:
    limit = 1 << (bits - 1)
    return lambda value: bool(_NUMBER.fullmatch(value)) and -limit <= int(value) < limit


def _is_decimal(value: str) -> bool:
    try:
        return decimal.Decimal(value.replace(",", "")).is_finite()
    except decimal.InvalidOperation:
        return False


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _is_datetime(value: str) -> bool:
    try:
        dt.datetime.fromisoformat(value)
    except ValueError:
        return any(_parses(value, form) for form in _DATE_FORMATS)
    return True


def _parses(value: str, form: str) -> bool:
    try:
        dt.datetime.strptime(value, form)  # noqa: DTZ007 - only the form is checked
    except ValueError:
        return False
    return True


def _length(shortest: int, longest: int | None = None) -> Check:
    top = shortest if longest is None else longest
    return lambda value: shortest <= len(value) <= top


def _range(lowest: int, highest: int) -> Check:
    return lambda value: _LONG(value) and lowest <= int(value) <= highest


_LONG = _is_integer(64)

_PLAIN: dict[str, Check] = {
    "int": _is_integer(32),
    "long": _LONG,
    "bool": lambda value: value.lower() in {"true", "false"},
    "datetime": _is_datetime,
    "decimal": _is_decimal,
    "double": lambda value: bool(_REAL.fullmatch(value)),
    "float": lambda value: bool(_REAL.fullmatch(value)),
    "guid": _is_guid,
    "alpha": lambda value: bool(re.fullmatch("[a-zA-Z]*", value)),
    "required": bool,
}

_WITH_NUMBERS: dict[str, Callable[..., Check]] = {
    "length": _length,
    "minlength": lambda number: lambda value: len(value) >= number,
    "maxlength": lambda number: lambda value: len(value) <= number,
    "min": lambda number: lambda value: _LONG(value) and int(value) >= number,
    "max": lambda number: lambda value: _LONG(value) and int(value) <= number,
    "range": _range,
}
