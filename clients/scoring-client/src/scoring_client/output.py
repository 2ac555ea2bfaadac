"""Where results go and in which form: a table for people, JSON lines or a JSON array for programs."""

import json
from collections.abc import Callable
from typing import Protocol

from scoring_client.results import Failed, Json, Result, Scored, printable

FORMS = ("table", "jsonl", "json")

Write = Callable[[str], object]

_LABEL_WIDTH = 28


class Form(Protocol):
    """Writes results in one form, each as soon as it is there."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


class Table:
    """Columns of fixed widths, so that no row waits for another. Failures are told on stderr, not here."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._begun = False

    def write(self, result: Result) -> None:
        if isinstance(result, Failed):
            return
        if not self._begun:
            self._begun = True
            self._write(_row("SCORE", "LABEL", "FILE"))
        self._write("".join(_rows(result)))

    def close(self) -> None:
        """Nothing is left to write."""


class Lines:
    """JSON Lines: one object a line, a failure too."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, result: Result) -> None:
        self._write(f"{_json(result.record)}\n")

    def close(self) -> None:
        """Nothing is left to write."""


class Array:
    """One JSON array, which is complete also when the run was cut short."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._begun = False

    def write(self, result: Result) -> None:
        self._write(f"{',' if self._begun else '['}\n{_json(result.record)}")
        self._begun = True

    def close(self) -> None:
        self._write("\n]\n" if self._begun else "[]\n")


def form(name: str, write: Write) -> Form:
    """The form of that name, one of ``FORMS``."""
    forms: dict[str, Callable[[Write], Form]] = {"table": Table, "jsonl": Lines, "json": Array}
    return forms[name](write)


def _rows(result: Scored) -> list[str]:
    file = printable(result.file)
    if not result.labels:
        return [_row("-", "(no label reaches the threshold)", file)]
    rows = [(f"{label['score']:.2%}", printable(label["label"])) for label in result.labels]
    return [_row(score, label, "" if number else file) for number, (score, label) in enumerate(rows)]


def _row(score: str, label: str, file: str) -> str:
    return f"{score:>7}  {label:<{_LABEL_WIDTH}}  {file}".rstrip() + "\n"


def _json(record: Json) -> str:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The name of a file that is not UTF-8: escaped, it can be written, and read again as it was.
        return json.dumps(record)
    return text
