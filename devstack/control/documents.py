"""Flat records as JSON objects and back, with each member's type checked."""

from dataclasses import asdict, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write(record: "DataclassInstance") -> dict[str, Any]:
    """A record's JSON object."""
    return asdict(record)


def read[T: "DataclassInstance"](kind: type[T], document: object) -> T:
    """Read what :func:`write` made of a dataclass whose members are text, numbers and booleans, or None.

    Raises:
        ValueError: it is something else; the message names the member and holds no value.
    """
    if not isinstance(document, dict):
        raise ValueError("an entry is no object")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in document or not _fits(document[name], hints[name]):
            raise ValueError(f'"{name}" is missing or of another type')
    return kind(**{name: document[name] for name in names})


def _fits(value: object, hint: Any) -> bool:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    # type() and not isinstance(): a bool is an int to Python, and not to JSON. A float may be written without a point.
    return type(value) in kinds or (float in kinds and type(value) is int)
