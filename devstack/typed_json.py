"""JSON documents as dataclasses, with the type of each member checked. No message contains a value of the document."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def load(content: bytes, version: int) -> dict[str, Any]:
    """Parse a JSON object whose member ``format`` is ``version``.

    Raises:
        ValueError: it is something else.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        # Without the decoder's own message, which may quote the content.
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != version:
        raise ValueError(f"its format is not {version}")
    return document


def read[T: "DataclassInstance"](kind: type[T], document: object, *, strict: bool = False, name: str = "") -> T:
    """Make a dataclass of a JSON object; members with a default may be absent.

    Other members are ignored, or with ``strict`` an error. ``name`` is that of the object in messages.

    Raises:
        ValueError: a member is missing, unknown or invalid; the message names it.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{name or 'an entry'} must be an object")
    hints = get_type_hints(kind)
    unknown = document.keys() - hints.keys()
    if strict and unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}; known: {sorted(hints)}")
    values = {}
    for field in fields(kind):
        member = f"{name}.{field.name}" if name else field.name
        if field.name in document:
            values[field.name] = _convert(document[field.name], hints[field.name], member)
        elif field.default is MISSING:
            raise ValueError(f"{member} is missing")
    return kind(**values)


def _convert(value: object, hint: Any, name: str) -> object:
    """A JSON value as a value of a type: a list becomes a tuple, an object a dataclass, text a member of an enum."""
    if isinstance(hint, UnionType):
        (kind,) = set(get_args(hint)) - {NoneType}
        return None if value is None else _convert(value, kind, name)
    if is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value, name=name)
    if get_origin(hint) is tuple:
        return _convert_list(value, get_args(hint), name)
    if get_origin(hint) is Mapping:
        if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
        raise ValueError(f"{name} must be an object of texts")
    return _convert_plain(value, hint, name)


def _convert_list(value: object, kinds: tuple[Any, ...], name: str) -> tuple[object, ...]:
    """``kinds`` are the arguments of the tuple type."""
    if not isinstance(value, list) or (kinds[-1] is not ... and len(value) != len(kinds)):
        raise ValueError(f"{name} must be a list" + ("" if kinds[-1] is ... else f" of {len(kinds)}"))
    kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
    return tuple(_convert(value[index], kind, f"{name}[{index}]") for index, kind in enumerate(kinds))


def _convert_plain(value: object, hint: Any, name: str) -> object:
    literal = get_origin(hint) is Literal
    if literal or issubclass(hint, StrEnum):
        choices = list(get_args(hint)) if literal else list(map(str, hint))
        if value in choices:
            return value if literal else hint(value)
        raise ValueError(f"{name} must be one of {choices}")
    # type() and not isinstance(): in Python a bool is an int. JSON may write a float without a point.
    if type(value) is hint or (hint is float and type(value) is int):
        return value
    raise ValueError(f"{name} must be {_NAMES[hint]}")
